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
    : mixer_site_(fmt::format("layers.{}.mixer", args.layer)),
      ffn_site_(fmt::format("layers.{}.ffn", args.layer)),
      site_(fmt::format("layers.{}", args.layer)),
      dropout_(dropout),
      mixer_norm_(spec.norm, scope / "mixer_norm", args.d_model),
      mixer_(built_at(spec.mixer.mark(), [&] { return build_mixer(spec.mixer, args, scope / "mixer"); })) {
  if (spec.ffn.is_null()) return;
  ffn_norm_ = std::make_unique<Norm>(spec.norm, scope / "ffn_norm", args.d_model);
  ffn_ = built_at(spec.ffn.mark(), [&] { return build_ffn(spec.ffn, args, scope / "ffn"); });
}

Tensor ResidualBlock::after(const Tensor& branch, const Context& cx) const {
  const Tensor y = tap(cx, "out", branch);
  return cx.phase == Phase::train ? dropout(y, dropout_, random_at(cx, "dropout"), cx.when.first_sample) : y;
}

Tensor ResidualBlock::forward(Tensor x, const Context& outer, ModelState::Block* state) const {
  Context cx = outer;
  {
    const LayerName name(mixer_site_);
    cx.site = mixer_site_;
    cx.state = state ? &state->mixer : nullptr;
    x = add(x, after(mixer_->forward(mixer_norm_(x), cx), cx));
  }
  if (ffn_) {
    const LayerName name(ffn_site_);
    cx.site = ffn_site_;
    cx.state = state ? &state->ffn : nullptr;
    x = add(x, after(ffn_->forward((*ffn_norm_)(x), cx), cx));
  }
  cx.site = site_;
  return tap(cx, "residual", x);
}

}  // namespace effllm
