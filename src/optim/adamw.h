// AdamW over slabs. Loshchilov and Hutter 2019, arXiv:1711.05101; the order of operations is PyTorch's.
#pragma once
#include <vector>

#include "optim/optimizer.h"

namespace effllm {

class AdamW final : public Optimizer {
 public:
  // ConfigError where a group matches no parameter.
  AdamW(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store);

 private:
  // Parts of parameters, of a size that doesn't depend on threads.
  struct Block {
    size_t parameter;
    int64_t from, n;  // of its elements
  };
  void update(const Slab& gradient, double scale, double lr_factor) override;

  OptimOptions options_;
  std::vector<Block> blocks_;
};

}  // namespace effllm
