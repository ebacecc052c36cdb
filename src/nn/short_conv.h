// A short causal depthwise convolution in front of a core, with its parameters and its part of the state.
#pragma once
#include <optional>

#include "cores/conv/short_conv.h"
#include "nn/call.h"
#include "nn/param_store.h"

namespace effllm {

class ShortConv {
 public:
  // weight [width, channels]: the last row weighs the newest token; with_bias: bias [channels], which does not decay.
  // Both start like PyTorch's depthwise nn.Conv1d, U(-1/sqrt(width), 1/sqrt(width)), or as said. `silu`: SiLU of the
  // sum.
  ShortConv(const Scope& s, int64_t width, int64_t channels, bool silu = false, bool with_bias = false,
            const std::optional<Init>& weight = {}, const std::optional<Init>& bias = {})
      : width_(width),
        channels_(channels),
        silu_(silu),
        weight_(&s.param("weight", {width, channels}, weight.value_or(Init::torch_linear(width)))),
        bias_(with_bias ? &s.param("bias", {channels}, bias.value_or(Init::torch_linear(width)), {.decay = false})
                        : nullptr) {}

  void declare(Site& site) const { site.field("conv", {width_ - 1, channels_}); }
  // x: [B, T, C], after the inputs `history`, [B, width-1, C] or undefined.
  ShortConvResult operator()(const Tensor& x, const Tensor& history, const Tensor& segments) const {
    return short_conv(x, weight_->value, history, segments, silu_, bias_ ? bias_->value : Tensor());
  }
  // The same after the call's field, which moves on.
  Tensor operator()(const Tensor& x, const Call& call) const {
    auto [y, after] = (*this)(x, call.read("conv"), call.segments());
    call.write("conv", after);
    return y;
  }

 private:
  int64_t width_, channels_;
  bool silu_;
  Parameter* weight_;
  Parameter* bias_;
};

}  // namespace effllm
