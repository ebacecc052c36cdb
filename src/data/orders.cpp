#include "data/batches.h"

#define LIST all_orders
#define KIND "order"
#define INFO OrderInfo
#define ENTRIES orders
#define LINES "lists/orders.def"
#include "config/list.inc"
