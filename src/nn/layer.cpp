#include "nn/layer.h"

namespace effllm {

Tensor Layer::forward(const Tensor& x, const Call& call) const {
  require(x.shape().rank() == 3, "a layer takes [B, T, D], not {}", x.shape().str());
  require(!call.has_state() || call.pass().state->batch() == x.dim(0), "a state of {} sequences for x{}",
          call.has_state() ? call.pass().state->batch() : 0, x.shape().str());
  Tensor y = call.tap(output_name(), run(x, call));
  call.advance(x.dim(1));
  return y;
}

Tensor Layer::forward(const Tensor& x, const Context& pass) const {
  return pass.state ? forward(x, Call(pass, pass.state->root())) : forward(x, Call(pass, *site_of(*this)));
}

}  // namespace effllm
