#include "ffn/ffn.h"

#define LIST all_ffns
#define KIND "ffn"
#define INFO LayerInfo
#define ENTRIES ffns
#define LINES "lists/ffns.def"
#include "config/list.inc"
