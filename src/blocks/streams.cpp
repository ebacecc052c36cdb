#include "blocks/streams.h"

#include "ops/mix_streams.h"

namespace effllm {
namespace {

constexpr std::string_view kStreams = "streams";

// Ones of each token, [B, T, n].
Tensor ones(const Tensor& x, int64_t n) { return Tensor::full(x.shape().with(-1, n), x.dtype(), 1); }

}  // namespace

void StreamOptions::visit(OptionVisitor& v) {
  ResidualOptions::visit(v);
  v("streams", streams, "Sets the number of residual streams.", between(1, 64));
}

Streams::Streams(const StreamOptions& o, const LayerArgs& args, const Scope& s)
    : Residual(o, args, s), streams_(o.streams), width_(args.d_model) {
  if (o.parallel) throw_at(o.mark, "parts that read one input have one connection: leave `parallel` out with streams");
  if (o.cross)
    throw_at(o.cross.mark(), "blocks of several streams connect a mixer and a channel mixer: they take no `cross`");
}

void Streams::declare(Site& site) const {
  if (site.before() && site.before()->gives(kStreams)) site.needs(kStreams, streams_ * width_);
  site.gives_anew(kStreams, streams_ * width_);
  Residual::declare(site);
}

Tensor Streams::run(const Tensor& x, const Call& call) const {
  Tensor h = call.site().needs(kStreams) ? call.take(kStreams) : mix_streams(x, ones(x, streams_), 1);
  h = connected(h, kMixer, [&](const Tensor& in) { return of_mixer(in, call); });
  if (has_ffn()) h = connected(h, kFfn, [&](const Tensor& in) { return of_ffn(in, call); });
  call.give(kStreams, h);
  call.advance(x.dim(1));
  return collapsed(h);
}

Tensor Streams::collapsed(const Tensor& streams) const {
  return mix_streams(streams, ones(streams, streams_), streams_);
}

}  // namespace effllm
