#include "objectives/objective.h"

#define LIST all_objectives
#define KIND "objective"
#define INFO ObjectiveInfo
#define ENTRIES objectives
#define LINES "lists/objectives.def"
#include "config/list.inc"
