// What augments a linear attention: a causal filter over its values, one per head, added to what the core gives. It
// sees the newest tokens sharply where the state sees a blur. You et al. 2024, arXiv:2406.07368 (section 1.2 of their
// code).
#pragma once
#include "config/options.h"
#include "cores/conv/shared_filter.h"
#include "nn/call.h"
#include "nn/param_store.h"

namespace effllm {

// Members of a mixer's options; call visit() in theirs.
struct AugmentOptions {
  std::string augment = "none";
  int64_t augment_taps = 32;
  void visit(OptionVisitor& v) {
    v("augment", augment,
      "Chooses what is added to the core's output: nothing, or a causal filter of the values per head.",
      {"none", "dwconv"});
    v("augment_taps", augment_taps, "Sets how many tokens the filter sees, the own one included.", between(2, 1024));
  }
};

class Augment {
 public:
  // augment.weight [heads, taps] starts at 0: the mixer begins as the one without.
  Augment(const AugmentOptions& o, const Scope& s, int64_t heads, int64_t values)
      : taps_(o.augment_taps),
        values_(values),
        weight_(o.augment == "none" ? nullptr : &s.param("augment.weight", {heads, taps_}, Init::zeros())) {}

  // The field of the last inputs.
  void declare(Site& site) const {
    if (weight_) site.field("augment", {taps_ - 1, values_});
  }
  // The core's output o with the filtered values v, both [B, T, values].
  Tensor operator()(const Tensor& o, const Tensor& v, const Call& call) const {
    if (!weight_) return o;
    auto [y, after] = shared_filter(v, weight_->value, call.read("augment"), call.segments(), o);
    call.write("augment", after);
    return y;
  }

 private:
  int64_t taps_, values_;
  Parameter* weight_;
};

}  // namespace effllm
