// A model of blocks seen in its two ways, as logits [B, T, Q]: see verify/forms.h.
#pragma once
#include "objectives/objective_checks.h"
#include "verify/forms.h"

namespace effllm::test {

inline Tensor row_part(const Tensor& ids, int64_t b, int64_t from, int64_t to) {
  return token_range(ids.row_range(b, {1, ids.dim(1)}).clone(), from, to);
}
inline Tensor by_blocks(const LanguageModel& model, const Tensor& clean, const Tensor& seen) {
  return run_noisy_by_blocks(model, clean, seen).logits;
}
inline Tensor in_one_pass(const LanguageModel& model, const Tensor& clean, const Tensor& seen) {
  return run_noisy(model, clean, seen).logits;
}

}  // namespace effllm::test
