// The dense layer with its parameters.
#pragma once
#include <numeric>
#include <utility>
#include <vector>

#include "nn/param_store.h"
#include "ops/linear.h"

namespace effllm {

struct Linear {
  // weight [out, in] (decays) and, with `bias`, bias [out] (starts at 0, does not decay).
  Linear(const Scope& s, int64_t in, int64_t out, Init init, Role role = Role::hidden, bool with_bias = false)
      : Linear(s, in, std::vector{out}, std::move(init), role, with_bias) {}
  // Several layers that read one input, as one: their weights and outputs side by side, `outs` of each.
  Linear(const Scope& s, int64_t in, const std::vector<int64_t>& outs, Init init, Role role = Role::hidden,
         bool with_bias = false)
      : weight(&s.param("weight", {sum(outs), in}, std::move(init),
                        {.role = role, .dense = true, .matrices = sum(outs) > 1 ? outs : std::vector<int64_t>()})),
        bias(with_bias ? &s.param("bias", {sum(outs)}, Init::zeros(), {.decay = false}) : nullptr) {}
  Tensor operator()(const Tensor& x) const {
    return linear(x, weight->value, bias ? bias->value : Tensor(), weight->transposed);
  }

  Parameter* weight;
  Parameter* bias;

 private:
  static int64_t sum(const std::vector<int64_t>& n) { return std::accumulate(n.begin(), n.end(), int64_t{0}); }
};

}  // namespace effllm
