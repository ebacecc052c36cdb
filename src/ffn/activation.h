// The functions that channel mixers may put between their products, by name.
#pragma once
#include "ops/pointwise.h"

namespace effllm {

// gelu is the exact form, gelu_tanh its approximation, relu2 = relu(x)^2.
inline const std::vector<std::string_view> kActivations = {"gelu", "gelu_tanh", "relu", "relu2", "silu"};

inline Pointwise activation_named(std::string_view name) {
  for (Pointwise f : {Pointwise::gelu, Pointwise::gelu_tanh, Pointwise::relu, Pointwise::relu2})
    if (to_string(f) == name) return f;
  return Pointwise::silu;
}

}  // namespace effllm
