// Lion: the sign of a mean of gradients. All weights move by the same amount, which lr alone sets.
//
//   W' = (1 - lr decay) W - lr sign(beta1 m + (1 - beta1) g),  m' = beta2 m + (1 - beta2) g
//
// Keeps one number for each element. Chen et al. 2023, arXiv:2302.06675.
#include <algorithm>

#include "kernels/parallel.h"
#include "optim/optimizer.h"

namespace effllm {
namespace {

class Lion final : public Optimizer {
 public:
  struct Options final : effllm::Options {
    void visit(OptionVisitor&) override {}
  };
  Lion(const Options&, const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
      : Optimizer(o, groups, store), beta1_(o.beta1), beta2_(o.beta2) {}

 private:
  void update(const Slab& gradient, double scale, double lr_factor) override {
    dispatch_float(store_.dtype(), [&]<class T>() {
      for (size_t i = 0; i < settings().size(); ++i) {
        const Parameter& p = *store_.sorted()[i];
        const double lr = settings()[i].lr * lr_factor;
        const T* g = gradient.data<T>() + p.offset;
        T *w = store_.values().data<T>() + p.offset, *m = slots_.data<T>(0, i);
        const T b1 = static_cast<T>(beta1_), b2 = static_cast<T>(beta2_), s = static_cast<T>(scale),
                keep = static_cast<T>(1 - lr * settings()[i].weight_decay), step = static_cast<T>(lr);
        parallel_for(p.extent, kBlock, [&](int64_t from, int64_t to) {
          for (int64_t k = from; k < to; ++k) {
            const T own = s * g[k], to_go = b1 * m[k] + (1 - b1) * own;
            w[k] = keep * w[k] - (to_go > 0 ? step : to_go < 0 ? -step : T(0));
            m[k] = b2 * m[k] + (1 - b2) * own;
          }
        });
      }
    });
  }

  static constexpr int64_t kBlock = 16384;  // elements
  double beta1_, beta2_;
};

}  // namespace

namespace optimizers {

extern constinit const OptimizerInfo lion = OptimizerInfo::of<Lion>({
    .name = "lion",
    .title = "the sign of a mean of gradients",
    .paper = "Chen et al. 2023, arXiv:2302.06675",
    .source = "google/automl@b21d6ce, lion/lion_pytorch.py",
    .deviations =
        "eps is not used; the authors' lr is 3 to 10 times smaller than AdamW's, and decay as many times larger",
    .slots = +[](const Options&, const Parameter&) { return std::vector<SlotKind>{{"momentum"}}; },
});

}  // namespace optimizers
}  // namespace effllm
