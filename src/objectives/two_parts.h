// A row in two parts: what an encoder reads of it, and what a decoder predicts.
#pragma once
#include "objectives/objective.h"

namespace effllm {

struct TwoParts {
  Tensor read;             // i32 [B, S], the encoder's
  Tensor lengths = {};     // i64 [B], tokens of those that are text; undefined: all
  Tensor inputs, targets;  // i32 [B, T], the decoder's
};

// Columns [from, to) of ids [B, T].
Tensor columns_of(const Tensor& ids, int64_t from, int64_t to);
// The context of the decoder's run: cx with what the encoder makes of its part. `tokens`: of a whole row, by which
// losses of layers are means.
Context with_encoded(const LanguageModel& model, const TwoParts& row, const Context& cx, int64_t tokens);
// Scores of what the decoder predicts of them, in rows of so many tokens, after each layer too where `how` asks.
std::vector<RowScore> score_parts(const LanguageModel& model, const TwoParts& row, const Scoring& how,
                                  const Context& cx, int64_t tokens);

}  // namespace effllm
