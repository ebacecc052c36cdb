// What the tests of gla share: inputs for its options, all options, and everything that comes out.
#pragma once
#include <vector>

#include "cores/gla/gla.h"
#include "ops/op_checks.h"

namespace effllm::test {

inline constexpr int64_t kGlaTokens = 13;

// i64 [2, 13]: row 0 continues a document and has three starts, row 1 begins with a start.
Tensor gla_documents();
Tensor log_decays(const Shape& s, uint64_t seed, double scale = 0.5);  // -|normal| * scale

struct GlaInputs {
  Tensor q, k, v, log_decay, state0;
  GlaOptions options;
  GlaInputs(GlaOptions o, int64_t dk, int64_t dv, int64_t steps = kGlaTokens, int64_t batch = 2);
  Tensors list() const { return {q, k, v, log_decay, state0}; }
  GlaInputs as_f32() const;
  GlaResult run(int64_t from, int64_t to, const Tensor& state) const;
};

std::vector<GlaOptions> all_gla_options();
// gla of q, k, v, log_decay, state0.
Function both_results(const GlaOptions& options, const Tensor& segments = {});
// Outputs and gradients.
inline Tensors everything(const GlaInputs& in, const Tensor& segments, const GlaOptions& options) {
  return outputs_and_gradients(both_results(options, segments), in.list());
}

}  // namespace effllm::test
