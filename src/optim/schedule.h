// The learning rate as a pure function of how far the run is.
#pragma once
#include "config/list.h"

namespace effllm {

class Schedule {
 public:
  explicit Schedule(int64_t warmup) : warmup_(warmup) {}
  virtual ~Schedule() = default;
  // The factor on the base learning rate at `step` (from 0), with `progress` in [0, 1) of the horizon done. During
  // warm-up (steps, linear from lr/(warmup+1)) the schedule's own shape waits.
  double factor(int64_t step, double progress) const;
  int64_t warmup() const { return warmup_; }

 private:
  virtual double shape(double p) const = 0;  // with p in [0, 1] of what is left after warm-up done
  int64_t warmup_;
};

struct ScheduleFacts {
  std::string_view name, title;
  bool keeps_rate = false;  // after warm-up
};
using ScheduleInfo = Entry<Schedule, ScheduleFacts>;
extern const List<ScheduleInfo> all_schedules;

// What most schedules ask for.
struct WarmupOptions : Options {
  int64_t warmup = 100;
  void visit(OptionVisitor& v) override { v("warmup", warmup, "Sets the steps of linear warm-up.", at_least(0)); }
};

// The section `optim.schedule`.
struct ScheduleSection final : Options {
  Choice<ScheduleInfo> type{all_schedules, "cosine"};
  void visit(OptionVisitor& v) override {
    type.visit_name(v, "type", "Chooses the shape after warm-up.");
    type.visit_options(v, "type", mark);
  }
};

}  // namespace effllm
