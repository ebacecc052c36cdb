#include <fmt/format.h>

#include "autodiff/meter.h"
#include "model/language_model.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"

namespace effllm {

namespace {

// A part that asks for too much memory is told with its place.
std::unique_ptr<Layer> built(const Choice<LayerInfo>& part, const LayerArgs& args, const Scope& scope) {
  try {
    return part.build(args, scope);
  } catch (const MemoryError& e) {
    throw MemoryError(located(part.mark(), e.what()));
  }
}

}  // namespace

ResidualBlock::ResidualBlock(const LayerSpec& spec, double dropout, const LayerArgs& args, const Scope& scope)
    : dropout_(dropout) {
  Diagnostics found;
  const auto norm = [&](std::string_view name) {
    return found.collect([&] { return std::make_unique<Norm>(spec.norm, scope / name, args.d_model); });
  };
  mixer_norm_ = norm("mixer_norm");
  mixer_ = found.collect([&] { return built(spec.mixer, args, scope / "mixer"); });
  if (spec.ffn) {
    ffn_norm_ = norm("ffn_norm");
    ffn_ = found.collect([&] { return built(spec.ffn, args, scope / "ffn"); });
  }
  found.throw_if_any();
}

void ResidualBlock::declare(Site& site) const {
  site.child("mixer", *mixer_).count_tokens();
  if (ffn_) site.child("ffn", *ffn_).count_tokens();
}

Tensor ResidualBlock::add_branch(const Tensor& x, const Norm& norm, const Layer& layer, const Call& call) const {
  const LayerName name(call.site().path());
  const Context& pass = call.pass();
  const Tensor y = layer.forward(norm(x), call);
  return add(x, pass.phase == Phase::train ? dropout(y, dropout_, call.random("dropout"), pass.when.first_sample) : y);
}

Tensor ResidualBlock::forward(Tensor x, const Call& call) const {
  x = add_branch(x, *mixer_norm_, *mixer_, call.child("mixer"));
  if (ffn_) x = add_branch(x, *ffn_norm_, *ffn_, call.child("ffn"));
  return call.tap("residual", x);
}

}  // namespace effllm
