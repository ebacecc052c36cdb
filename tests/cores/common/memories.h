// Cores with a matrix for a state, gla and delta with each of their options: one list of inputs and results.
#pragma once
#include <string>
#include <vector>

#include "cores/gla/gla.h"
#include "ops/op_checks.h"

namespace effllm::test {

inline constexpr int64_t kMemoryTokens = 13;

// i64 [2, 13]: row 0 continues a document and has three starts, row 1 begins with a start.
Tensor memory_documents();
Tensor log_decays(const Shape& s, uint64_t seed);  // -|normal| / 2

// Inputs are q, k, v, beta, log_decay, state0, undefined where there is none; results o, state.
inline constexpr size_t kLogDecay = 4, kState0 = 5;
struct Memory {
  std::string name;
  bool delta;  // of delta's options there are `heads`, `chunk` and whether it decays
  GlaOptions options;

  Tensors inputs(int64_t dk, int64_t dv, int64_t steps = kMemoryTokens, int64_t batch = 2) const;
  Tensors run(const Tensors& x, const Tensor& segments = {}) const;
  Tensors reference(const Tensors& x, const Tensor& segments = {}) const;  // loops over tokens
  Function function(const Tensor& segments = {}) const;                    // run, of a copy
  // Outputs and gradients.
  Tensors everything(const Tensors& x, const Tensor& segments = {}) const {
    return outputs_and_gradients(function(segments), x);
  }
  bool decays() const { return options.decay != Decay::none; }
};
std::vector<Memory> all_memories();

}  // namespace effllm::test
