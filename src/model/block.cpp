#include <fmt/format.h>

#include "autodiff/meter.h"
#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "model/language_model.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"

namespace effllm {

namespace {

// f(), with the place of the part of the configuration that asks for too much.
template <class F>
auto built_at(const Mark& where, F&& f) {
  try {
    return f();
  } catch (const MemoryError& e) {
    throw MemoryError(located(where, e.what()));
  }
}

}  // namespace

ResidualBlock::ResidualBlock(const LayerSpec& spec, double dropout, const MixerArgs& args, const Scope& scope)
    : dropout_(dropout),
      mixer_norm_(spec.norm, scope / "mixer_norm", args.d_model),
      mixer_(built_at(spec.mixer.mark(), [&] { return build_mixer(spec.mixer, args, scope / "mixer"); })) {
  if (spec.ffn.is_null()) return;
  ffn_norm_ = std::make_unique<Norm>(spec.norm, scope / "ffn_norm", args.d_model);
  ffn_ = built_at(spec.ffn.mark(), [&] { return build_ffn(spec.ffn, args, scope / "ffn"); });
}

void ResidualBlock::declare(Site& site) const {
  site.child("mixer", *mixer_).count_tokens();
  if (ffn_) site.child("ffn", *ffn_).count_tokens();
}

Tensor ResidualBlock::add_branch(const Tensor& x, const Norm& norm, const SequenceMixer& layer,
                                 const Call& call) const {
  const LayerName name(call.site().path());
  const Context& pass = call.pass();
  const Tensor y = layer.forward(norm(x), call);
  return add(x, pass.phase == Phase::train ? dropout(y, dropout_, call.random("dropout"), pass.when.first_sample) : y);
}

Tensor ResidualBlock::forward(Tensor x, const Call& call) const {
  x = add_branch(x, mixer_norm_, *mixer_, call.child("mixer"));
  if (ffn_) x = add_branch(x, *ffn_norm_, *ffn_, call.child("ffn"));
  return call.tap("residual", x);
}

}  // namespace effllm
