#include "blocks/residual.h"

#include <fmt/format.h>

#include <algorithm>

#include "autodiff/meter.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "ops/groups.h"

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
    "{ffn: none, norm_at: after}", "{ffn: rwkv_channel_mix, norm: {type: layer_norm, bias: true}, dropout: 0.2}",
    "{parallel: true, norm_at: both}", "{cross: {type: attention, heads: 2, kv_heads: 1, qk_norm: true, bias: true}}",
    "{cross: {type: attention, heads: 2}, mixer: min_gru, parallel: true}"};

}  // namespace

void ResidualOptions::visit(OptionVisitor& v) {
  v("mixer", mixer, "Chooses the sequence mixer.");
  v("cross", cross, "Chooses what reads the encoder, after the mixer; `none` leaves it out.");
  v("ffn", ffn, "Chooses the channel mixer; `none` leaves it out.");
  v("norm", norm, "Describes the norm of each of them.");
  v("norm_at", norm_at, "Puts the norm before them, after them, before what they give is added, or both (sandwich).",
    {"before", "after", "both"});
  v("parallel", parallel, "Lets all read the block's input, instead of one after the other.");
  v("dropout", dropout, "Sets the dropout of what each of them adds to the stream; default: model.dropout.",
    between(0, 0.99));
}

Residual::Residual(const Options& o, LayerArgs args, const Scope& scope)
    : parallel_(o.parallel), dropout_(o.dropout.value_or(args.dropout)) {
  Diagnostics found;
  args.with_ffn = static_cast<bool>(o.ffn);
  const auto branch = [&](const std::string& name, const Choice<LayerInfo>& part) {
    const auto norm = [&](std::string_view place) {
      return found.collect(
          [&] { return std::make_unique<Norm>(o.norm, scope / (name + "_" + std::string(place)), args.d_model); });
    };
    Branch b;
    if (o.norm_at != "after") b.before = norm("norm");
    b.layer = found.collect([&] { return built(part, args, scope / name); });
    if (o.norm_at != "before") b.after = norm("post_norm");
    return b;
  };
  mixer_ = branch("mixer", o.mixer);
  if (o.cross) cross_ = branch("cross", o.cross);
  if (o.ffn) ffn_ = branch("ffn", o.ffn);
  found.throw_if_any();
}

void Residual::declare(Site& site) const {
  site.count_tokens();
  site.child("mixer", *mixer_.layer);
  if (cross_.layer) site.child("cross", *cross_.layer);
  if (ffn_.layer) site.child("ffn", *ffn_.layer);
}

int64_t Residual::sequences_together() const {
  return std::max(mixer_.layer->sequences_together(), ffn_.layer ? ffn_.layer->sequences_together() : 1);
}

bool Residual::trains_otherwise() const {
  return mixer_.layer->trains_otherwise() || (ffn_.layer && ffn_.layer->trains_otherwise());
}

LongText Residual::long_text(int64_t trained) const {
  LongText all = mixer_.layer->long_text(trained);
  return ffn_.layer ? all |= ffn_.layer->long_text(trained) : all;
}

void Residual::remember(const Memory& memory, const Call& call) const {
  if (cross_.layer) cross_.layer->remember(memory, call.child("cross"));
}

Tensor Residual::Branch::run(const Tensor& x, double dropout, const Call& call) const {
  const LayerName name(call.site().path());
  Tensor y = layer->forward(before ? (*before)(x) : x, call);
  if (after) y = (*after)(y);
  const double rate = call.left_out(dropout);
  return rate > 0 ? effllm::dropout(y, rate, call.random("dropout"), call.tokens().samples) : y;
}

Residual::Added Residual::added(const Tensor& x, const Call& call) const {
  Added a;
  a.of_mixer = of_mixer(x, call);
  a.before_ffn = add(x, a.of_mixer);
  if (cross_.layer) {
    a.of_cross = cross_.run(parallel_ ? x : a.before_ffn, dropout_, call.child("cross"));
    a.before_ffn = add(a.before_ffn, a.of_cross);
  }
  if (has_ffn()) a.of_ffn = of_ffn(parallel_ ? x : a.before_ffn, call);
  return a;
}

Tensor Residual::with(const Tensor& x, const Added& a, const Tensor& by) {
  const auto weighed = [&](const Tensor& t) { return by.defined() ? multiply_groups(t, by) : t; };
  Tensor y = by.defined() ? add(x, weighed(a.of_mixer)) : a.before_ffn;
  if (by.defined() && a.of_cross.defined()) y = add(y, weighed(a.of_cross));
  return a.of_ffn.defined() ? add(y, weighed(a.of_ffn)) : y;
}

Tensor Residual::run(const Tensor& x, const Call& call) const {
  const Added a = added(x, call);
  call.advance(x.dim(1));
  return with(x, a);
}

namespace blocks {

extern constinit const LayerInfo residual = LayerInfo::of<Residual>({
    .name = "residual",
    .title = "Residual block",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper =
        "Xiong et al. 2020, arXiv:2002.04745; parallel: Black et al. 2022, arXiv:2204.06745; norm_at: after as OLMo 2, "
        "arXiv:2501.00656, both as CogView, arXiv:2105.13290",
    .source = "openai/gpt-2@9b63575, src/model.py, block()",
    .deviations =
        "any mixer, and a channel mixer or none; dropout of both, which the released code leaves out; parallel parts "
        "have a norm each, as in GPT-NeoX; cross stands where T5 has it, arXiv:1910.10683, in parallel too",
    .prefix_and_blocks = true,
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace blocks
}  // namespace effllm
