// Cosine falls from 1 to final_lr over what warm-up leaves of the horizon, as in nanoGPT (Loshchilov and Hutter 2017,
// arXiv:1608.03983, without restarts).
#include <cmath>
#include <numbers>

#include "optim/schedule.h"

namespace effllm {
namespace {

struct CosineOptions final : WarmupOptions {
  double final_lr = 0.1;
  void visit(OptionVisitor& v) override {
    WarmupOptions::visit(v);
    v("final_lr", final_lr, "Says where cosine ends, as a fraction of lr.", between(0, 1));
  }
};

class Cosine final : public Schedule {
 public:
  using Options = CosineOptions;
  explicit Cosine(const Options& o) : Schedule(o.warmup), end_(o.final_lr) {}

 private:
  double shape(double p) const override { return end_ + (1 - end_) * 0.5 * (1 + std::cos(std::numbers::pi * p)); }
  double end_;
};

}  // namespace

namespace schedules {

extern constinit const ScheduleInfo cosine = ScheduleInfo::of<Cosine>(
    {.name = "cosine", .title = "from the base rate to final_lr times it along half a cosine"});

}  // namespace schedules
}  // namespace effllm
