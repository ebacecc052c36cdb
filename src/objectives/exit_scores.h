// How well rows are predicted: by the whole model, and by what it is after each of its layers.
#pragma once
#include <vector>

#include "objectives/objective.h"

namespace effllm {

// Of each row its score, and what else `how` asks of logits [B T, Q].
std::vector<RowScore> scores_of_rows(const Tensor& logits, const BatchRows& rows, const Scoring& how);

// Scores of rows that are predicted from left to right, with RowScore::exits and settled: one run of the model, each
// layer's stream through the final norm and the head. Of tokens that are equally likely the first counts. Advances the
// state.
std::vector<RowScore> score_exits(const LanguageModel& model, const BatchRows& rows, const Scoring& how,
                                  const Context& cx);

}  // namespace effllm
