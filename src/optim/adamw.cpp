#include "optim/adamw.h"

#include <algorithm>
#include <cmath>

#include "kernels/optimizer.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr int64_t kBlock = 16384;  // elements: 64 KiB of each of four slabs

}  // namespace

std::vector<SlotKind> adamw_slots() { return {{"m"}, {"v"}}; }

AdamwPass::AdamwPass(const OptimOptions& o, const ParamStore& store, bool (*takes)(const Parameter&))
    : beta1_(o.beta1), beta2_(o.beta2), eps_(o.eps), store_(store) {
  for (size_t i = 0; i < store.sorted().size(); ++i) {
    if (!takes(*store.sorted()[i])) continue;
    const int64_t extent = store.sorted()[i]->extent;
    for (int64_t at = 0; at < extent; at += kBlock) blocks_.push_back({i, at, std::min(kBlock, extent - at)});
  }
}

void AdamwPass::operator()(const Slab& gradient, double scale, double lr_factor, int64_t steps,
                           const std::vector<ParameterSetting>& settings, const Slots& slots) const {
  const AdamwArgs common{.lr = 0,
                         .beta1 = beta1_,
                         .beta2 = beta2_,
                         .eps = eps_,
                         .weight_decay = 0,
                         .grad_scale = scale,
                         .bias1 = 1 - std::pow(beta1_, static_cast<double>(steps)),
                         .bias2 = 1 - std::pow(beta2_, static_cast<double>(steps))};
  dispatch_float(store_.dtype(), [&]<class T>() {
    parallel_for(static_cast<int64_t>(blocks_.size()), 4, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const Block& b = blocks_[static_cast<size_t>(i)];
        const int64_t at = store_.sorted()[b.parameter]->offset + b.from;  // in slabs of all parameters
        AdamwArgs args = common;
        args.lr = settings[b.parameter].lr * lr_factor;
        args.weight_decay = settings[b.parameter].weight_decay;
        kernel::adamw<T>(args, b.n, gradient.data<T>() + at, store_.values().data<T>() + at,
                         slots.data<T>(0, b.parameter) + b.from, slots.data<T>(1, b.parameter) + b.from);
      }
    });
  });
}

AdamW::AdamW(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
    : Optimizer(o, groups, store), pass_(o, store, [](const Parameter&) { return true; }) {}

namespace optimizers {

constinit const OptimizerInfo adamw = OptimizerInfo::of<AdamW>({
    .name = "adamw",
    .title = "Adam with decoupled weight decay",
    .paper = "Loshchilov and Hutter 2019, arXiv:1711.05101",
    .source = "pytorch/pytorch@v2.13.0, torch/optim/adamw.py, its order of operations",
    .slots = +[](const Options&, const Parameter&) { return adamw_slots(); },
});

}  // namespace optimizers
}  // namespace effllm
