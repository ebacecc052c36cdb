#include "nn/layer.h"

#include <fmt/format.h>

#include <cmath>

namespace effllm {

Tensor Layer::forward(const Tensor& x, const Call& call) const {
  require(x.shape().rank() == 3, "a layer takes [B, T, D], not {}", x.shape().str());
  if (call.has_state()) {
    const auto picked = static_cast<int64_t>(call.tokens().sequences.size());
    const int64_t batch = picked ? picked : call.pass().state->batch();
    require(batch == x.dim(0), "a state of {} sequences for x{}", batch, x.shape().str());
  }
  return call.tap(output_name(), run(x, call));
}

Tensor Layer::forward(const Tensor& x, const Context& cx) const {
  const auto site = cx.state ? nullptr : site_of(*this);
  const Call call(cx, cx.state ? cx.state->root() : *site);
  if (cx.state && cx.memory.rows.defined()) remember(cx.memory, call);
  Tensor y = forward(x, call);
  if (!counts_tokens()) call.advance(x.dim(1));
  return y;
}

int64_t width_of(double expand, const LayerArgs& args, const Options& o) {
  const int64_t width = std::llround(expand * static_cast<double>(args.d_model));
  if (width < 1) throw_at(o.mark, fmt::format("{} times d_model {} leaves no width", expand, args.d_model));
  return width;
}

int64_t head_width(std::string_view name, int64_t heads, int64_t keys, int64_t values, const Options& o) {
  if (keys % heads || values % heads)
    throw_at(o.mark,
             fmt::format("{}: {} heads don't divide key width {} and value width {}", name, heads, keys, values));
  return values / heads;
}

}  // namespace effllm
