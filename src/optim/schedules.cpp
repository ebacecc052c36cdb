#include "optim/schedule.h"

#define LIST all_schedules
#define KIND "schedule"
#define INFO ScheduleInfo
#define ENTRIES schedules
#define LINES "lists/schedules.def"
#include "config/list.inc"
