// A model of blocks seen in its two ways: clean and noisy tokens in one pass, and block by block behind a state.
#pragma once
#include "objectives/objective_checks.h"

namespace effllm::test {

inline Tensor row_part(const Tensor& ids, int64_t b, int64_t from, int64_t to) {
  const Tensor part = Tensor::dense({1, to - from}, DType::i32);
  for (int64_t i = from; i < to; ++i) part.data<int32_t>()[i - from] = ids.view<int32_t>().row(b)[i];
  return part;
}

// Logits of `seen` [B, T], each block of it behind the clean ones before, which a state holds: [B * T, Q].
inline Tensor by_blocks(const LanguageModel& model, const Tensor& clean, const Tensor& seen) {
  const int64_t tokens = clean.dim(1), block = model.config().block;
  const Tensor all = Tensor::dense({clean.dim(0) * tokens, model.vocab()}, DType::f64);
  for (int64_t b = 0; b < clean.dim(0); ++b) {
    State state = model.make_state(1, tokens);
    for (int64_t from = 0; from < tokens; from += block) {
      const int64_t to = std::min(tokens, from + block);
      State own = state;
      const Tensor logits = model.logits(row_part(seen, b, from, to), {}, &own);
      copy(logits.row_range(0, {to - from, model.vocab()}),
           all.row_range(b * tokens + from, {to - from, model.vocab()}));
      model.body(row_part(clean, b, from, to), {}, &state);
    }
  }
  return all;
}

// The same of one pass over clean and noisy tokens. Positions are counted twice.
inline Tensor in_one_pass(const LanguageModel& model, const Tensor& clean, const Tensor& seen) {
  const int64_t count = clean.dim(0), tokens = clean.dim(1);
  const Tensor ids = Tensor::dense({count, 2 * tokens}, DType::i32),
               places = Tensor::dense({count, 2 * tokens}, DType::i64);
  for (int64_t b = 0; b < count; ++b)
    for (int64_t i = 0; i < 2 * tokens; ++i) {
      ids.view<int32_t>().row(b)[i] = (i < tokens ? clean : seen).view<int32_t>().row(b)[i % tokens];
      places.view<int64_t>().row(b)[i] = i % tokens;
    }
  Context cx;
  cx.noisy = true;
  cx.positions = places;
  const Tensor both = model.logits(ids, cx);
  const Tensor noisy = Tensor::dense({count * tokens, model.vocab()}, DType::f64);
  for (int64_t b = 0; b < count; ++b)
    copy(both.row_range(b * 2 * tokens + tokens, {tokens, model.vocab()}),
         noisy.row_range(b * tokens, {tokens, model.vocab()}));
  return noisy;
}

}  // namespace effllm::test
