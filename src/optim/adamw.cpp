#include "optim/adamw.h"

#include <algorithm>
#include <cmath>

#include "kernels/parallel.h"
#include "kernels/table.h"

namespace effllm {
namespace {

constexpr int64_t kBlock = 16384;  // elements: 64 KiB of each of four slabs

// The mean of gradients, and of their squares.
std::span<const std::string_view> two_moments(const Parameter&) {
  static constexpr std::string_view kNames[] = {"m", "v"};
  return kNames;
}

}  // namespace

AdamW::AdamW(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
    : Optimizer(two_moments, group_settings(o, groups, store), store), options_(o) {
  for (size_t i = 0; i < settings_.size(); ++i) {
    const int64_t extent = store.sorted()[i]->extent;
    for (int64_t at = 0; at < extent; at += kBlock) blocks_.push_back({i, at, std::min(kBlock, extent - at)});
  }
}

void AdamW::update(const Slab& gradient, double scale, double lr_factor) {
  const AdamwArgs common{.lr = 0,
                         .beta1 = options_.beta1,
                         .beta2 = options_.beta2,
                         .eps = options_.eps,
                         .weight_decay = 0,
                         .grad_scale = scale,
                         .bias1 = 1 - std::pow(options_.beta1, static_cast<double>(steps())),
                         .bias2 = 1 - std::pow(options_.beta2, static_cast<double>(steps()))};
  dispatch_float(store_.dtype(), [&]<class T>() {
    parallel_for(static_cast<int64_t>(blocks_.size()), 4, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const Block& b = blocks_[static_cast<size_t>(i)];
        const int64_t at = store_.sorted()[b.parameter]->offset + b.from;  // in slabs of all parameters
        AdamwArgs args = common;
        args.lr = settings_[b.parameter].lr * lr_factor;
        args.weight_decay = settings_[b.parameter].weight_decay;
        kernels<T>().adamw(args, b.n, gradient.data<T>() + at, store_.values().data<T>() + at,
                           slots_.data<T>(0, b.parameter) + b.from, slots_.data<T>(1, b.parameter) + b.from);
      }
    });
  });
}

namespace optimizers {

extern constinit const OptimizerInfo adamw{
    .name = "adamw",
    .title = "Adam with decoupled weight decay",
    .slots = two_moments,
    .build = +[](const OptimOptions& o, const std::vector<GroupOptions>& groups,
                 ParamStore& store) -> std::unique_ptr<Optimizer> { return std::make_unique<AdamW>(o, groups, store); },
};

}  // namespace optimizers
}  // namespace effllm
