// Schedule-free AdamW: what is evaluated is a running mean x of iterates z, gradients are taken between the two.
//
//   y = beta1 x + (1 - beta1) z                      where gradients g are taken: the weights while training
//   v' = beta2 v + (1 - beta2) g^2
//   z' = z - lr (g / (sqrt(v' / (1 - beta2^t)) + eps) + decay y)
//   x' = (1 - c) x + c z',  c = m^2 / sum of m^2 so far, m the largest lr so far
//
// The rate is constant after warm-up: the mean does what a schedule's end does. Keeps z, v and the one of x and y that
// the weights are not. Defazio et al. 2024, arXiv:2405.15682.
#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/parallel.h"
#include "optim/optimizer.h"
#include "optim/schedule.h"

namespace effllm {
namespace {

class ScheduleFree final : public Optimizer {
 public:
  struct Options final : effllm::Options {
    void visit(OptionVisitor&) override {}
  };
  ScheduleFree(const Options&, const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
      : Optimizer(o, groups, store), beta1_(o.beta1), beta2_(o.beta2), eps_(o.eps) {}

  void exchange() override {
    if (steps() == 0) return;  // all are the initial weights
    dispatch_float(store_.dtype(), [&]<class T>() {
      for (size_t i = 0; i < settings().size(); ++i) {
        const Parameter& p = *store_.sorted()[i];
        T* w = store_.values().data<T>() + p.offset;
        std::swap_ranges(w, w + p.extent, slots_.data<T>(kOther, i));
      }
    });
  }

 private:
  enum SlotIndex : size_t { kIterate, kSquares, kOther, kLargest, kSum };

  void update(const Slab& gradient, double scale, double lr_factor) override {
    const double unbias = 1 - std::pow(beta2_, static_cast<double>(steps()));
    dispatch_float(store_.dtype(), [&]<class T>() {
      for (size_t i = 0; i < settings().size(); ++i) {
        const Parameter& p = *store_.sorted()[i];
        const double rate = settings()[i].lr * lr_factor;
        T *y = store_.values().data<T>() + p.offset, *z = slots_.data<T>(kIterate, i), *v = slots_.data<T>(kSquares, i),
          *x = slots_.data<T>(kOther, i), *largest = slots_.data<T>(kLargest, i), *sum = slots_.data<T>(kSum, i);
        if (steps() == 1) {
          std::copy_n(y, p.extent, z);
          std::copy_n(y, p.extent, x);
        }
        *largest = std::max(*largest, static_cast<T>(rate));
        *sum += *largest * *largest;
        const T c = *sum > 0 ? *largest * *largest / *sum : T(0);
        const T b1 = static_cast<T>(beta1_), b2 = static_cast<T>(beta2_), eps = static_cast<T>(eps_),
                s = static_cast<T>(scale), lr = static_cast<T>(rate), of_mean = static_cast<T>(unbias),
                decay = static_cast<T>(settings()[i].weight_decay);
        const T* g = gradient.data<T>() + p.offset;
        parallel_for(p.extent, kBlock, [&](int64_t from, int64_t to) {
          for (int64_t k = from; k < to; ++k) {
            const T own = s * g[k];
            v[k] = b2 * v[k] + (1 - b2) * (own * own);
            z[k] -= lr * (own / (std::sqrt(v[k] / of_mean) + eps) + decay * y[k]);
            x[k] += c * (z[k] - x[k]);
            y[k] = b1 * x[k] + (1 - b1) * z[k];
          }
        });
      }
    });
  }

  static constexpr int64_t kBlock = 16384;  // elements
  double beta1_, beta2_, eps_;
};

}  // namespace

namespace optimizers {

extern constinit const OptimizerInfo schedule_free = OptimizerInfo::of<ScheduleFree>({
    .name = "schedule_free",
    .title = "AdamW whose weights are a running mean, in the place of a schedule",
    .paper = "Defazio et al. 2024, arXiv:2405.15682",
    .source = "facebookresearch/schedule_free@c752e61, schedulefree/adamw_schedulefree.py",
    .deviations = "warm-up is the schedule's; r is 0 and the weight of a step the square of the largest rate, as by "
                  "default there; "
                  "x is kept, there it is computed from y and z",
    .slots =
        +[](const Options&, const Parameter&) {
          return std::vector<SlotKind>{
              {"z"}, {"v"}, {"y"}, {"largest_lr", SlotOf::whole}, {"sum_of_squares", SlotOf::whole}};
        },
    .keeps_rate = true,
});

}  // namespace optimizers
}  // namespace effllm
