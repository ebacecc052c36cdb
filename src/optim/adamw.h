// AdamW over slabs. Loshchilov and Hutter 2019, arXiv:1711.05101; the order of operations is PyTorch's.
#pragma once
#include <vector>

#include "optim/optimizer.h"

namespace effllm {

// The slots of what AdamW takes: "m", the mean of gradients, and "v", that of their squares.
std::vector<SlotKind> adamw_slots();

// One pass over some parameters of a store.
class AdamwPass {
 public:
  // Over those that `takes` says, whose slots are adamw_slots.
  AdamwPass(const OptimOptions& o, const ParamStore& store, bool (*takes)(const Parameter&));
  // `steps` counts from 1; lr and decay of a parameter are its setting, times `lr_factor`.
  void operator()(const Slab& gradient, double scale, double lr_factor, int64_t steps,
                  const std::vector<ParameterSetting>& settings, const Slots& slots) const;

 private:
  // Parts of parameters, of a size that doesn't depend on threads.
  struct Block {
    size_t parameter;
    int64_t from, n;  // of its elements
  };

  double beta1_, beta2_, eps_;
  const ParamStore& store_;
  std::vector<Block> blocks_;
};

namespace optimizers {
extern const OptimizerInfo adamw;
}

class AdamW final : public Optimizer {
 public:
  AdamW(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store);

 private:
  void update(const Slab& gradient, double scale, double lr_factor) override {
    pass_(gradient, scale, lr_factor, steps(), settings(), slots_);
  }

  AdamwPass pass_;
};

}  // namespace effllm
