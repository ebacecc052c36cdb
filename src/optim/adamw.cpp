#include "optim/adamw.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/parallel.h"
#include "kernels/table.h"

namespace effllm {
namespace {

constexpr int64_t kBlock = 16384;  // elements: 64 KiB of each of four slabs
constexpr NamedInfo kAll[] = {{"adamw", "Adam with decoupled weight decay"}};

}  // namespace

void GroupOptions::visit(OptionVisitor& v) {
  v("match", match, "Names of parameters: * any text, ? one character.");
  v("lr", lr, "Learning rate of these, under the same schedule.", at_least(0));
  v("weight_decay", weight_decay, "Weight decay of these.", at_least(0));
}

void OptimOptions::visit(OptionVisitor& v) {
  v("type", type, "The optimizer.", {"adamw"});
  v("lr", lr, "Base learning rate.", between(0, 100));
  v("beta1", beta1, "Decay of the mean of gradients.", between(0, 0.99999));
  v("beta2", beta2, "Decay of the mean of squared gradients.", between(0, 0.9999999));
  v("eps", eps, "Added to the root of the second moment.", between(0, 1));
  v("weight_decay", weight_decay, "Decay of matrices, per step lr * weight_decay.", between(0, 100));
  v("clip", clip, "Largest norm of the whole gradient; 0 switches clipping off.", at_least(0));
  v("schedule", schedule, "Learning-rate schedule: {type, warmup, final_lr}.");
  v("groups", groups, "Exceptions by name: [{match: \"*.bias\", lr: 1e-4, weight_decay: 0}].");
}

std::span<const NamedInfo> all_optimizers() { return kAll; }

bool matches(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::vector<ParameterSetting> group_settings(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                             const ParamStore& store) {
  std::vector<ParameterSetting> settings;
  for (const Parameter* p : store.sorted())
    settings.push_back({o.lr * p->traits.lr_scale, p->traits.decay ? o.weight_decay : 0});
  for (const GroupOptions& g : groups) {
    bool any = false;
    for (size_t i = 0; i < settings.size(); ++i) {
      if (!matches(g.match, store.sorted()[i]->name)) continue;
      any = true;
      if (g.lr) settings[i].lr = *g.lr;
      if (g.weight_decay) settings[i].weight_decay = *g.weight_decay;
    }
    if (!any)
      throw_at(g.mark, fmt::format("no parameter is called like `{}`; `effllm describe` lists their names", g.match));
  }
  return settings;
}

AdamW::AdamW(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
    : options_(o),
      store_(store),
      settings_(group_settings(o, groups, store)),
      m_(store.slab_elements(), store.dtype()),
      v_(store.slab_elements(), store.dtype()) {
  for (size_t i = 0; i < settings_.size(); ++i) {
    const Parameter& p = *store.sorted()[i];
    for (int64_t at = 0; at < p.extent; at += kBlock)
      blocks_.push_back({p.offset + at, std::min(kBlock, p.extent - at), i});
  }
}

void AdamW::step(const Slab& gradient, double scale, double lr_factor) {
  ++steps_;
  AdamwArgs common{.lr = 0,
                   .beta1 = options_.beta1,
                   .beta2 = options_.beta2,
                   .eps = options_.eps,
                   .weight_decay = 0,
                   .grad_scale = scale,
                   .bias1 = 1 - std::pow(options_.beta1, static_cast<double>(steps_)),
                   .bias2 = 1 - std::pow(options_.beta2, static_cast<double>(steps_))};
  dispatch_float(store_.dtype(), [&]<class T>() {
    parallel_for(static_cast<int64_t>(blocks_.size()), 4, [&](int64_t from, int64_t to) {
      for (int64_t i = from; i < to; ++i) {
        const Block& b = blocks_[static_cast<size_t>(i)];
        AdamwArgs args = common;
        args.lr = settings_[b.parameter].lr * lr_factor;
        args.weight_decay = settings_[b.parameter].weight_decay;
        kernels<T>().adamw(args, b.n, gradient.data<T>() + b.from, store_.values().data<T>() + b.from,
                           m_.data<T>() + b.from, v_.data<T>() + b.from);
      }
    });
  });
}

}  // namespace effllm
