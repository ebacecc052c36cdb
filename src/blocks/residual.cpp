#include "blocks/residual.h"

#include <fmt/format.h>

#include <algorithm>

#include "autodiff/meter.h"
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

constexpr std::string_view kVariants[] = {
    "{ffn: none}", "{ffn: rwkv_channel_mix, norm: {type: layer_norm, bias: true}, dropout: 0.2}"};

}  // namespace

void ResidualOptions::visit(OptionVisitor& v) {
  v("mixer", mixer, "Chooses the sequence mixer.");
  v("ffn", ffn, "Chooses the channel mixer; `none` leaves it out.");
  v("norm", norm, "Describes the norm before each of them.");
  v("dropout", dropout, "Sets the dropout of what each of them adds to the stream; default: model.dropout.",
    between(0, 0.99));
}

Residual::Residual(const Options& o, LayerArgs args, const Scope& scope) : dropout_(o.dropout.value_or(args.dropout)) {
  Diagnostics found;
  const auto norm = [&](std::string_view name) {
    return found.collect([&] { return std::make_unique<Norm>(o.norm, scope / name, args.d_model); });
  };
  args.with_ffn = static_cast<bool>(o.ffn);
  mixer_norm_ = norm("mixer_norm");
  mixer_ = found.collect([&] { return built(o.mixer, args, scope / "mixer"); });
  if (o.ffn) {
    ffn_norm_ = norm("ffn_norm");
    ffn_ = found.collect([&] { return built(o.ffn, args, scope / "ffn"); });
  }
  found.throw_if_any();
}

void Residual::declare(Site& site) const {
  site.count_tokens();
  site.child("mixer", *mixer_);
  if (ffn_) site.child("ffn", *ffn_);
}

int64_t Residual::sequences_together() const {
  return std::max(mixer_->sequences_together(), ffn_ ? ffn_->sequences_together() : 1);
}

bool Residual::trains_otherwise() const { return mixer_->trains_otherwise() || (ffn_ && ffn_->trains_otherwise()); }

LongText Residual::long_text(int64_t trained) const {
  LongText all = mixer_->long_text(trained);
  return ffn_ ? all |= ffn_->long_text(trained) : all;
}

Tensor Residual::branch(const Tensor& x, const Norm& norm, const Layer& layer, const Call& call) const {
  const LayerName name(call.site().path());
  const Tensor y = layer.forward(norm(x), call);
  const double rate = call.left_out(dropout_);
  return rate > 0 ? dropout(y, rate, call.random("dropout"), call.tokens().samples) : y;
}

Tensor Residual::of_mixer(const Tensor& x, const Call& call) const {
  return branch(x, *mixer_norm_, *mixer_, call.child("mixer"));
}

Tensor Residual::of_ffn(const Tensor& x, const Call& call) const {
  return ffn_ ? branch(x, *ffn_norm_, *ffn_, call.child("ffn")) : Tensor();
}

Tensor Residual::run(const Tensor& in, const Call& call) const {
  Tensor x = add(in, of_mixer(in, call));
  if (const Tensor y = of_ffn(x, call); y.defined()) x = add(x, y);
  call.advance(in.dim(1));
  return x;
}

namespace blocks {

extern constinit const LayerInfo residual = LayerInfo::of<Residual>({
    .name = "residual",
    .title = "Pre-norm residual block",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "Xiong et al. 2020, arXiv:2002.04745",
    .source = "openai/gpt-2@9b63575, src/model.py, block()",
    .deviations = "any mixer, and a channel mixer or none; dropout of both, which the released code leaves out",
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace blocks
}  // namespace effllm
