#include "optim/schedule.h"

namespace effllm {
namespace {

struct Constant final : Schedule {
  // It has no use for the end of cosine, but was always written with it: its configurations and their hashes stay.
  struct Options final : WarmupOptions {
    double final_lr = 0.1;
    void visit(OptionVisitor& v) override {
      WarmupOptions::visit(v);
      v("final_lr", final_lr, "Is the end of cosine, and changes nothing here.", between(0, 1));
    }
  };
  explicit Constant(const Options& o) : Schedule(o.warmup) {}
  double shape(double) const override { return 1; }
};

}  // namespace

namespace schedules {

extern constinit const ScheduleInfo constant =
    ScheduleInfo::of<Constant>({.name = "constant", .title = "the base rate after warm-up", .keeps_rate = true});

}  // namespace schedules
}  // namespace effllm
