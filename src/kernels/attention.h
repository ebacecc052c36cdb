// Kernels of softmax attention.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// One head of one sequence. Key j may be seen by query i iff first[i] <= j < last[i] and, where window > 0, it lies
// within the window or is a sink: with distance = (i + q_offset) - j, causal: 0 <= distance < window or
// j - first[i] < sinks; bidirectional: |distance| < window or j - first[i] < sinks. Causal also needs distance >= 0.
// A gap stands for keys that were forgotten between sinks and window: keys j >= sinks count as at j + gap, and queries
// as at i + q_offset + gap. Positions enter through ALiBi and the window alone. Causal with a prefix: keys before that
// are seen by all. With blocks (causal: false) a token sees its own block and those before. Where `clean` > 0 the rows
// are so many clean tokens and as many noisy ones at their places: key j >= clean is noisy token j - clean, which is
// seen by the noisy ones of its block alone; these see clean keys of the blocks before theirs. No sinks then.
template <class T>
struct AttentionArgs {
  View<const T> q, k, v;              // [Tq, dk], [S, dk], [S, dv]
  int64_t q_offset = 0;               // index among the keys of the first query's own token
  double scale = 1, alibi_slope = 0;  // score = scale q.k - alibi_slope |distance|
  bool causal = true;
  int64_t window = 0, sinks = 0, gap = 0, prefix = 0, block = 0, clean = 0;
  const int64_t* first = nullptr;  // [Tq] first key of the query's document; null: 0
  const int64_t* last = nullptr;   // [Tq] one past its last key; null: S
  // Dropout of probabilities: entry (i, j) is kept iff the 32 bits that Philox gives for counter
  // {j / 4, i + q_offset, drop_c2, drop_c3} and these keys, word j % 4, are >= drop_below; kept ones grow by
  // drop_scale.
  uint32_t drop_below = 0, drop_key0 = 0, drop_key1 = 0, drop_c2 = 0, drop_c3 = 0;
  double drop_scale = 1;
  int64_t strip = 32;    // query rows at a time: how, never what
  View<T> o;             // [Tq, dv]
  T* lse = nullptr;      // [Tq] log-sum-exp of each row's scores (natural log); -inf: it saw nothing, o = 0
  T* scratch = nullptr;  // attention_scratch(...) elements
};
template <class T>
struct AttentionBackwardArgs {
  View<const T> d_o;   // [Tq, dv]
  View<T> dq, dk, dv;  // like q, k, v; each (+)= by its flag
  bool add_q = false, add_k = false, add_v = false;
};

EFFLLM_KERNEL(attention_scratch, int64_t(int64_t queries, int64_t keys, int64_t dk, int64_t dv, int64_t strip));
EFFLLM_KERNEL(attention, void(const AttentionArgs<T>&));
EFFLLM_KERNEL(attention_backward, void(const AttentionArgs<T>&, const AttentionBackwardArgs<T>&));

}  // namespace effllm
