#include "optim/optimizer.h"

#define LIST all_optimizers
#define KIND "optimizer"
#define INFO OptimizerInfo
#define ENTRIES optimizers
#define LINES "lists/optimizers.def"
#include "config/list.inc"
