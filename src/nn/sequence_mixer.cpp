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

}  // namespace effllm
