#include "blocks/block.h"

#define LIST all_blocks
#define KIND "block"
#define INFO LayerInfo
#define ENTRIES blocks
#define LINES "lists/blocks.def"
#include "config/list.inc"
