// Which tokens an expert takes: the best of a sequence, by score (core K7). Values only, so that no gradient passes a
// choice. Ties go to the first token.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct ChosenTokens {
  Tensor experts;  // i64 [B, T, E]: those that took a token, in order of index, filled up with -1
  // f64 [E]: half-way between the scores of the last token that an expert takes of a document and of the first that it
  // leaves (0 where it takes all), summed over documents times their tokens.
  Tensor border;
};

// Of each document's n tokens an expert takes the most_of(n, share). score: [B, T, E]; share: in (0, 1]; segments:
// documents.
ChosenTokens choose_tokens(const Tensor& score, double share, const Tensor& segments);
// n share, rounded up.
int64_t most_of(int64_t n, double share);

}  // namespace effllm
