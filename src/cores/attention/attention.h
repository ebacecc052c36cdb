// Softmax attention over a set of keys: causal or not, windows, sinks, documents, ALiBi, dropout, shared key heads.
#pragma once
#include <cstdint>

#include "base/random.h"
#include "tensor/tensor.h"

namespace effllm {

struct AttentionOptions {
  int64_t heads = 1, kv_heads = 1;  // query head h reads key-value head h * kv_heads / heads
  double scale = 0;                 // of q.k; 0: 1 / sqrt(dk)
  bool causal = true;
  int64_t window = 0;  // keys at a distance below this are seen; 0: all
  int64_t sinks = 0;   // the first keys of a document, seen whatever the window
  bool alibi = false;  // scores lose alibi_slope(h, heads) * distance
  double dropout = 0;  // of the probabilities, each entry a function of (key, sample, head, query, key)
  uint32_t drop_key[2] = {0, 0};
  // With blocks of so many tokens, counted from the first key, a query sees the keys of its own block and those before
  // (causal: false). `noisy`: queries and keys are T / 2 clean tokens, for which that holds, and as many noisy ones at
  // the same places, which see the noisy ones of their own block and the clean ones of the blocks before (Arriola et
  // al. 2025, arXiv:2503.09573, section 3.2); without sinks.
  int64_t block = 0;
  bool noisy = false;
  double in_range = 0;   // keys in one of AttentionPlaces::ranges as a rule: what costs go by
  Samples samples = {};  // that the sequences here are among all of the run
  int64_t chunk = 32;    // query rows at a time: how, never what
};

// Where the sequences of a call stand among the keys. Only keys of a query's own document are seen, none from
// q_offset + T on.
//   q_offset  i64 [B]     index among the keys of query 0's own token; undefined: S - T
//   gap       i64 [B]     tokens forgotten between the sinks and the keys that follow; undefined: 0
//   segments  i64 [B, T]
//   prefix    i64 [B]     the first queries that see each other's keys, of causal attention; undefined: 0
// Or they don't stand there at all, and every query sees the same keys, without order: `causal` is false then, there is
// no window, and the four above are undefined.
//   lengths   i64 [B]     keys of each sequence, 1 to S, the first of its rows
// Or each query has a range of keys of its own, the same holding for all else:
//   ranges    i64 [B, T, 2]  the first key that it sees, and one past the last
struct AttentionPlaces {
  Tensor q_offset = {}, gap = {}, segments = {}, prefix = {}, lengths = {}, ranges = {};
};

// o = dropout(softmax(scale q k^T - alibi distance)) v for each head; a query that sees nothing gives zero. Backward
// recomputes the probabilities: no buffer holds T x S of anything.
//   q        [B, T, H*dk]
//   k        [B, S, G*dk]  G = kv_heads
//   v        [B, S, G*dv]
//   returns  [B, T, H*dv]
Tensor attention(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options,
                 const AttentionPlaces& places = {});

// 2^(-8 (h + 1) / H) for H a power of two; otherwise those of the next lower power of two P, then every other one of
// 2 P (Press et al. 2021, "Train short, test long").
double alibi_slope(int64_t head, int64_t heads);

// A length that holds n, of few: a cache that grows by a token a call must not leave a buffer of every length behind.
inline int64_t few_sizes(int64_t n, int64_t least) {
  while (least < n) least *= 2;
  return least;
}

// Pairs (query, key) that T queries at the end of S keys see, documents, gaps and prefixes left aside.
double attention_pairs(int64_t queries, int64_t keys, const AttentionOptions& options);

// The first key of each query's document and one past its last one, [T] each; segments: [T] or null.
void document_keys(const int64_t* segments, int64_t queries, int64_t q_offset, bool causal, int64_t* first,
                   int64_t* last);

}  // namespace effllm
