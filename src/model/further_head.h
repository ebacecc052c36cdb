// A head that predicts a token after the next: a block like the model's last layer, with weights of its own.
//
//   side by side  h = block(x), x what the last layer reads, and the model's final norm (Gloeckle et al. 2024,
//                 arXiv:2404.19737: the last layer itself is the next token's head)
//   in a row      h = block(M [norm(h'); norm(e)]), h' the stream of the head before and e the embedding of the token
//                 that it predicts, and a final norm of its own (DeepSeek-V3, arXiv:2412.19437, section 2.2)
#pragma once
#include <memory>

#include "model/model_config.h"
#include "nn/linear.h"

namespace effllm {

class FurtherHead {
 public:
  // `args`: those of the last layer.
  FurtherHead(const ModelConfig& config, const LayerArgs& args, const Scope& scope);
  // What the block reads. x: [B, T, D]; embedded: [B, T, D], where heads are in a row.
  Tensor input(const Tensor& x, const Tensor& embedded) const;
  const Layer& block() const { return *block_; }
  const Norm* final_norm() const { return final_norm_.get(); }  // null: the model's

 private:
  std::unique_ptr<const Layer> block_;
  std::unique_ptr<Norm> of_stream_, of_token_, final_norm_;  // where heads are in a row
  std::unique_ptr<Linear> projection_;                       // weight [D, 2 D]
};

}  // namespace effllm
