// Product keys (core K7): n^2 keys that are pairs of n and n sub-keys, of which the best are found among few. Lample et
// al. 2019, arXiv:1907.05242.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// The products of each head's query with the sub-keys, its first half with the first n and its second with the others,
// each number summed in one order. queries: [B, T, H k]; keys: [2 n, k / 2] -> [B, T, H 2n].
Tensor sub_key_scores(const Tensor& queries, const Tensor& keys, int64_t heads);

// The `count` pairs (i, j) of each head with the largest first_i + second_j, best first; ties go to the lowest i, then
// j.
struct ChosenPairs {
  Tensor pairs;          // i64 [B, T, H count]: i n + j
  Tensor first, second;  // of the same shape: the columns of their scores
  Tensor margin;         // [B, T, H]: how far the last was from the best that was not chosen
};
// scores: [B, T, H 2n]. Values only: no gradient passes the choice.
ChosenPairs choose_pairs(const Tensor& scores, int64_t heads, int64_t count);

}  // namespace effllm
