// What each token of a text costs a model after those before it.
#pragma once
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "model/language_model.h"

namespace effllm {

struct TokenScore {
  double log_likelihood = 0;                            // natural logarithm
  std::vector<std::pair<int32_t, double>> likeliest{};  // tokens with theirs, likeliest first, of equals the lowest id
};

// Of tokens 1, 2 .. of `tokens`, n >= 1, each after all before it: n - 1 scores, as an evaluation by one window of n -
// 1 inputs has them, with the `most` likeliest tokens of each place. The model predicts the next token from those
// before it, with neither encoder nor prefix. ConfigError where it has learned positions for fewer inputs;
// NumericalError for logits that are not numbers.
std::vector<TokenScore> score_tokens(const LanguageModel& model, std::span<const int32_t> tokens, int64_t most);

}  // namespace effllm
