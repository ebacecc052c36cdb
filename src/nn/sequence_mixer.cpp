#include "nn/sequence_mixer.h"

namespace effllm {

Tensor SequenceMixer::forward(const Tensor& x, const Call& call) const {
  require(x.shape().rank() == 3, "a mixer takes [B, T, D], not {}", x.shape().str());
  require(!call.has_state() || call.seen().numel() == x.dim(0), "a state of {} sequences for x{}",
          call.has_state() ? call.seen().numel() : 0, x.shape().str());
  Tensor y = mix(x, call);
  call.advance(x.dim(1));
  return y;
}

}  // namespace effllm
