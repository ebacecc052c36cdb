#include "projections/projection.h"

#define LIST all_projections
#define KIND "projection"
#define INFO ProjectionInfo
#define ENTRIES projections
#define LINES "lists/projections.def"
#include "config/list.inc"
