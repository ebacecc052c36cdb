// Attention inside groups of tokens with scores that are no softmax (core K4): each key counts by a function of its own
// product with the query. Hua et al. 2022 (FLASH, arXiv:2202.10447: relu^2), Ma et al. 2022 (Mega, arXiv:2209.10655:
// laplace), Ramapuram et al. 2024 (arXiv:2409.04431: sigmoid).
#pragma once
#include "autodiff/op.h"
#include "kernels/pointwise.h"

namespace effllm {

struct ScoreAttentionOptions {
  int64_t heads = 1;
  int64_t group = 256;                 // tokens of a document that see each other, from its start on
  Pointwise score = Pointwise::relu2;  // of q.k + bias; keys after the query count nothing whatever its value at 0
  // The entry of `bias` for each distance (empty: the distance itself; beyond its end the last one), and its factor.
  std::vector<int32_t> bias_at = {};
  double bias_scale = 1;
  int64_t chunk = 0;  // query rows at a time, 0: the core's own choice. How, never what
};

// Tokens of the running document's last group that came before the call.
struct GroupCache {
  Tensor k, v;    // [B, R, H*n], R < group
  Tensor before;  // i64 [B] how many rows are in use
};

// o_t = sum over the tokens s <= t of t's group of f(q_t . k_s + scale bias[at[t - s]]) v_s, for each head. No buffer
// holds more than a strip of one group's scores.
//   q, k      [B, T, H*dk]
//   v         [B, T, H*dv]
//   bias      [n]           undefined: none
//   segments  i64 [B, T]
//   returns   [B, T, H*dv]
Tensor score_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                       const ScoreAttentionOptions& options, const GroupCache& cache = {}, const Tensor& segments = {});

}  // namespace effllm
