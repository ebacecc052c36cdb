// Warm-up, stable, decay: the base rate until the last part of the horizon, in which it falls to final_lr (Hu et al.
// 2024, arXiv:2404.06395; Haegele et al. 2024, arXiv:2405.18392, whose best shape is 1 - sqrt). A run that is resumed
// with a longer horizon from before the fall goes on as if it had been planned so.
#include <cmath>
#include <numbers>
#include <string>

#include "optim/schedule.h"

namespace effllm {
namespace {

struct WsdOptions final : WarmupOptions {
  double decay = 0.2, final_lr = 0;
  std::string shape = "sqrt";
  void visit(OptionVisitor& v) override {
    WarmupOptions::visit(v);
    v("decay", decay, "Sets the part of what warm-up leaves of the horizon in which the rate falls.", between(0, 1));
    v("shape", shape, "Chooses how it falls: by 1 - sqrt of the part that is done, by a line, or by half a cosine.",
      {"sqrt", "linear", "cosine"});
    v("final_lr", final_lr, "Says where it ends, as a fraction of lr.", between(0, 1));
  }
};

class Wsd final : public Schedule {
 public:
  using Options = WsdOptions;
  explicit Wsd(const Options& o) : Schedule(o.warmup), o_(o) {}

 private:
  double shape(double p) const override {
    if (p <= 1 - o_.decay) return 1;
    const double done = (p - (1 - o_.decay)) / o_.decay;
    const double left = o_.shape == "sqrt"     ? 1 - std::sqrt(done)
                        : o_.shape == "linear" ? 1 - done
                                               : 0.5 * (1 + std::cos(std::numbers::pi * done));
    return o_.final_lr + (1 - o_.final_lr) * left;
  }
  WsdOptions o_;
};

}  // namespace

namespace schedules {

extern constinit const ScheduleInfo wsd = ScheduleInfo::of<Wsd>(
    {.name = "wsd", .title = "the base rate, then a fall to final_lr times it over the last part of the run"});

}  // namespace schedules
}  // namespace effllm
