// Which blocks of keys a token reads: means of blocks, and lists for selected_attention. Values only, so that no
// gradient passes a choice. Every score is summed in one order whatever the form of the call, and ties go to the lowest
// block.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// A block of `block` keys of a document that is complete is kept under number floor(its first key / block): those of
// one document follow each other, from floor(the document's first key / block) on.

// Means of the complete blocks of k, of which q_offset + T keys exist; zero where no block is kept. T is `tokens`.
//   k         [B, S, C]
//   q_offset  i64 [B]                  undefined: S - T
//   segments  i64 [B, T]
//   returns   [B, ceil(S / block), C]
Tensor block_means(const Tensor& k, int64_t block, int64_t tokens, const Tensor& q_offset = {},
                   const Tensor& segments = {});
// The mean of one block, as block_means takes it: keys [first, first + block) of sequence b of k [B, S, C] into row
// `to` of means [B, N, C].
void block_mean(const Tensor& k, int64_t b, int64_t first, int64_t block, const Tensor& means, int64_t to);

// Lu et al. 2025 (MoBA, arXiv:2502.13189). For each token and head its own block, and the top_k - 1 blocks before it
// whose mean has the largest product with q.
//   q         [B, T, H*n]
//   means     [B, N, H*n]          of block_means
//   q_offset  i64 [B]              key of the first token
//   segments  i64 [B, T]
//   margin    [B, T, H]            written: last chosen score less the first that was not; infinite: all were taken
//   returns   i64 [B, T, H*top_k]  ascending, filled up with -1
Tensor nearest_blocks(const Tensor& q, const Tensor& means, int64_t heads, int64_t block, int64_t top_k,
                      const Tensor& q_offset, const Tensor& segments = {}, Tensor* margin = nullptr);

// The k largest of n scores, ties to the lowest index, in ascending order of index; returns how many there are.
template <class T>
int64_t largest(const T* score, int64_t n, int64_t k, int64_t* index);
// The smallest of the scores at `index`, ascending, less the largest of the other ones; infinite where there is none.
template <class T>
T margin_of(const T* score, int64_t n, const int64_t* index, int64_t count);

}  // namespace effllm
