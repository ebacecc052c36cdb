#include "nn/sequence_mixer.h"

namespace effllm {

Tensor SequenceMixer::forward(const Tensor& x, const Context& cx) const {
  require(x.shape().rank() == 3, "a mixer takes [B, T, D], not {}", x.shape().str());
  require(!cx.state || cx.state->batch() == x.dim(0), "a state of {} sequences for x{}",
          cx.state ? cx.state->batch() : 0, x.shape().str());
  Tensor y = mix(x, cx);
  if (cx.state) advance(*cx.state, x.dim(1), cx.segments);
  return y;
}

Tensor SequenceMixer::step(const Tensor& x, const Context& cx) const {
  require(x.shape().rank() == 2 && cx.state, "step() takes [B, D] and a state");
  Tensor y = mix_one(x, cx);
  advance(*cx.state, 1, cx.segments);
  return y;
}

Tensor SequenceMixer::mix_one(const Tensor& x, const Context& cx) const {
  return mix(x.reshape({x.dim(0), 1, x.dim(1)}), cx).reshape(x.shape());
}

}  // namespace effllm
