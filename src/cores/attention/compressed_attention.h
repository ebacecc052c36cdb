// Softmax attention over summaries of blocks, a run of them for every token, and the blocks of keys that it finds
// important: the first branch of NSA and the choice of its second (Yuan et al. 2025, arXiv:2502.11089).
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct CompressedOptions {
  int64_t heads = 1, kv_heads = 1;   // query head h reads key-value head h * kv_heads / heads
  int64_t length = 32, stride = 16;  // summary i of a document: its tokens [i stride, i stride + length)
  int64_t block = 64, select = 16;   // keys in a block; blocks to name
  int64_t chunk = 0;                 // query rows at a time, 0: the core's own choice. How, never what
};

// What a token sees: summaries [first, last), of which `first` is the first of its document, and its position there.
struct SummaryRanges {
  Tensor first, last, position;  // i64 [B, T]
};

// o = softmax(q k^T / sqrt(dk)) v over each token's range; an empty one gives zero.
//   q        [B, T, H*dk]
//   k        [B, N*G, dk]  row i*G + g: summary i of key-value head g
//   v        [B, N*G, dv]
//   returns  [B, T, H*dv]
Tensor compressed_attention(const Tensor& q, const Tensor& k, const Tensor& v, const SummaryRanges& ranges,
                            const CompressedOptions& options);

// For each token and key-value head the first block of the document, the token's own and the one before it, and as many
// others up to `select` as are most important, ties to the lowest. Importance of a block: the probabilities of
// compressed_attention, summed over the heads of the group, of the summaries that overlap it, each as often as they
// share a piece of `stride` tokens with it. No gradient.
//   margin   [B, T, G]             written: least chosen importance less the first that was not; infinite: no choice
//   returns  i64 [B, T, G*select]  ascending, filled up with -1
Tensor important_blocks(const Tensor& q, const Tensor& k, const SummaryRanges& ranges, const CompressedOptions& options,
                        Tensor* margin = nullptr);

}  // namespace effllm
