// What blocks that choose among tokens share: choices as lists, as marks, and counted.
#pragma once
#include <functional>

#include "nn/layer.h"
#include "nn/run_chosen.h"

namespace effllm {

// Scores and marks are [B, T, 1]; marks are 1 for the chosen.

// The ceil(capacity T) tokens of T, where 0.07 of 100 are 7.
int64_t tokens_of(double capacity, int64_t tokens);
// Of a layer that is given some of the tokens: Pass::reach would count those.
LongText anew_if_unseen(LongText inside);

// Those of lists i64 [B, k]; on shapes alone as many.
Chosen chosen_of(const Tensor& lists);
Tensor lists_of(const Chosen& chosen);  // back, of as many of each sequence
// Those with a score above 0 among the marked, all where `among` is undefined; on shapes alone `expected` of each.
Chosen chosen_above_zero(const Tensor& score, const Tensor& among, int64_t expected);
// Of the type of the score that chose.
Tensor marks_of(const Chosen& chosen, const Tensor& score);
// Shows a choice, and how far each score was from 0, or `margin`.
void show_choice(const Call& call, const Chosen& chosen, const Tensor& score, const Tensor& margin = {});
// The sum of f(number of a, number of b) over tokens; 0 on shapes alone.
double sum_over(const Tensor& a, const Tensor& b, const std::function<double(double, double)>& f);

}  // namespace effllm
