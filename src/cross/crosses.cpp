#include "cross/cross.h"

#define LIST all_crosses
#define KIND "cross mixer"
#define INFO LayerInfo
#define ENTRIES crosses
#define LINES "lists/crosses.def"
#include "config/list.inc"
