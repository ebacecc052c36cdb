// What a token adds to its own values, whatever stands before it.
#pragma once
#include "nn/layer.h"

namespace effllm {

//   3 sigmoid(W_g x[.., :columns]) E[id], a gate for each of `heads` heads.
// Parameters value_embedding.weight [ids, width] and value_gate.weight [heads, columns]; karpathy/nanochat@92d63d4.
class ValueEmbedding {
 public:
  ValueEmbedding(const LayerArgs& args, int64_t heads, int64_t width, int64_t columns, const Scope& s);
  Tensor operator()(const Tensor& x, const Tensor& ids) const;  // [B, T, D], i32 [B, T] -> [B, T, width]

 private:
  int64_t columns_;
  Parameter *table_, *gate_;
};

}  // namespace effllm
