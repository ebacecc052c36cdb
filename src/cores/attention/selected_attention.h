// Softmax attention of every token over blocks of keys that a list names, one list a token and key-value head: the core
// (K4) under NSA (Yuan et al. 2025, arXiv:2502.11089), MoBA (Lu et al. 2025, arXiv:2502.13189) and top-k attention.
#pragma once
#include <cstdint>

#include "tensor/tensor.h"

namespace effllm {

struct SelectedAttentionOptions {
  int64_t heads = 1, kv_heads = 1;  // the heads of a group read the same keys
  int64_t block = 1;                // keys in a block: block c holds keys [c block, (c + 1) block) of the document
  double scale = 0;                 // of q.k; 0: 1 / sqrt(dk)
};

// o = softmax(scale q k^T) v over the keys of the listed blocks, counted from the first key of the token's document:
// key 0 where it began before the call. A token never sees keys after its own, q_offset + t; what sees nothing gives
// zero. The work follows the lists: keys are gathered, no T x S of anything is held.
//   q         [B, T, H*dk]
//   k         [B, S, G*dk]     G = kv_heads
//   v         [B, S, G*dv]
//   blocks    i64 [B, T, G*n]  n for each token and key-value head; below 0: none; twice there counts twice
//   q_offset  i64 [B]          undefined: S - T
//   segments  i64 [B, T]
//   returns   [B, T, H*dv]
Tensor selected_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& blocks,
                          const SelectedAttentionOptions& options, const Tensor& q_offset = {},
                          const Tensor& segments = {});

}  // namespace effllm
