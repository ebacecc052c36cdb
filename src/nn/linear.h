// The dense layer with its parameters.
#pragma once
#include <utility>

#include "nn/param_store.h"
#include "ops/linear.h"

namespace effllm {

struct Linear {
  // weight [out, in] (decays) and, with `bias`, bias [out] (starts at 0, does not decay).
  Linear(const Scope& s, int64_t in, int64_t out, Init init, Role role = Role::hidden, bool with_bias = false)
      : weight(&s.param("weight", {out, in}, std::move(init), {.role = role, .dense = true})),
        bias(with_bias ? &s.param("bias", {out}, Init::zeros(), {.decay = false}) : nullptr) {}
  Tensor operator()(const Tensor& x) const {
    return linear(x, weight->value, bias ? bias->value : Tensor(), weight->transposed);
  }

  Parameter* weight;
  Parameter* bias;
};

}  // namespace effllm
