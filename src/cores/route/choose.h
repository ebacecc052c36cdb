// Which experts a token goes to: lists of experts by score (core K7). Values only, so that no gradient passes a choice.
// Ties go to the lowest index.
#pragma once
#include "autodiff/op.h"

namespace effllm {

enum class ChooseBy {
  count,    // the `count` largest scores
  share,    // the fewest that add up to `share` of a row that sums to one
  positive  // all above zero
};

struct Choosing {
  ChooseBy by = ChooseBy::count;
  int64_t count = 1;
  double share = 1;
  // Of `groups` runs of equally many experts only those of the `kept` best are chosen from, by the sum of a group's two
  // largest scores (DeepSeek-V3).
  int64_t groups = 1, kept = 1;
  int64_t slots(int64_t experts) const { return by == ChooseBy::count ? count : experts; }
};

//   score     [B, T, E]
//   bias      [E]            added for the choice alone; or undefined
//   margin    [B, T, 1]      written: how far the last that was chosen was from the first that was not, or from the
//   bound returns   i64 [B, T, k]  best first, filled up with -1; k = slots(E)
Tensor choose_experts(const Tensor& score, const Tensor& bias, const Choosing& how, Tensor* margin = nullptr);

// Leaves of what each sequence gave to an expert the first `capacity`: in the order of tokens, or all first choices
// before second ones. A later one becomes -1. experts: i64 [B, T, k] of `count` -> the same.
enum class DropOrder { token_major, choice_major };
Tensor limit_experts(const Tensor& experts, int64_t count, int64_t capacity, DropOrder order);

// The scores of the experts listed: [B, T, E], i64 [B, T, k] -> [B, T, k]; 0 for -1.
Tensor scores_of(const Tensor& score, const Tensor& experts);

// Of lists of experts those in [from, to), counted from there; others become -1. Of the same shape.
Tensor experts_within(const Tensor& experts, int64_t from, int64_t to);
// The weights of each of `count` experts, 0 where it is not listed: weights [B, T, k], i64 [B, T, k] -> [B, T, count].
Tensor weights_of_all(const Tensor& weights, const Tensor& experts, int64_t count);

// How often each of `count` experts was chosen.
std::vector<double> times_chosen(const Tensor& experts, int64_t count);

}  // namespace effllm
