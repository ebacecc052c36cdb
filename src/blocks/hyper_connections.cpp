// Hyper-connections: n residual streams that each part of a block reads, mixes and writes with weights of its own.
//
//   input = sum_j a_j0 h_j,  h_i <- sum_j a_ji h_j + b_i f(input)
//   a = A + s_a tanh(W_a norm(h_j)), b = B + s_b tanh(w_b . norm(h_j));  A, B, W, s learned, A and B alone where static
//
// As it starts all streams are the residual stream of a pre-norm block. Zhu et al. 2024, arXiv:2409.19606.
#include <array>

#include "blocks/streams.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/linear.h"
#include "ops/mix_streams.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

namespace effllm::blocks {
namespace {

constexpr double kNormEps = 1e-5, kScale = 0.01;

struct HyperOptions final : StreamOptions {
  bool dynamic = true;
  void visit(OptionVisitor& v) override {
    StreamOptions::visit(v);
    v("dynamic", dynamic, "Lets a token add to the weights of its streams what they say.");
  }
};

class HyperConnections final : public Streams {
 public:
  using Options = HyperOptions;
  HyperConnections(const Options& o, const LayerArgs& args, const Scope& s)
      : Streams(o, args, s), width_(args.d_model) {
    const auto connect = [&](Part part, const Scope& p) {
      const int64_t n = o.streams, first = first_of(args, part, n);
      Connection& c = connections_[part];
      // Row j: what stream j gives to the input, then to the streams.
      const auto start = [n, first](double, int64_t, int64_t k) {
        const int64_t from = k / (n + 1), to = k % (n + 1);
        return (to == 0 ? from == first : from == to - 1) ? 1.0 : 0.0;
      };
      c.alpha = &p.param("static_alpha", {n * (n + 1)}, Init::mapped(start), {.decay = false});
      c.beta = &p.param("static_beta", {n}, Init::ones(), {.decay = false});
      if (!o.dynamic) return;
      c.norm_weight = &p.param("norm.weight", {args.d_model}, Init::ones(), {.decay = false});
      c.norm_bias = &p.param("norm.bias", {args.d_model}, Init::zeros(), {.decay = false});
      c.to_alpha = &p.param("alpha.weight", {n + 1, args.d_model}, Init::zeros(), {.matrices = {n + 1}});
      c.to_beta = &p.param("beta.weight", {1, args.d_model}, Init::zeros(), {.matrices = {1}});
      c.alpha_scale = &p.param("alpha_scale", {1}, Init::constant(kScale));
      c.beta_scale = &p.param("beta_scale", {1}, Init::constant(kScale));
    };
    connect(kMixer, s / "mixer_connection");
    if (o.ffn) connect(kFfn, s / "ffn_connection");
  }

 protected:
  Tensor connected(const Tensor& h, Part part, const Branch& branch) const override {
    const Connection& c = connections_[part];
    const int64_t n = streams();
    Tensor alpha, beta;
    if (c.to_alpha) {
      for (const Tensor& stream : split_columns(h, std::vector<int64_t>(static_cast<size_t>(n), width_))) {
        const Tensor normed = layer_norm(stream, c.norm_weight->value, c.norm_bias->value, kNormEps);
        beside(alpha, linear(normed, c.to_alpha->value));
        beside(beta, linear(normed, c.to_beta->value));
      }
      alpha = scale_by(pointwise(Pointwise::tanh, alpha), c.alpha_scale->value);
      beta = scale_by(pointwise(Pointwise::tanh, beta), c.beta_scale->value);
    } else {
      alpha = Tensor::zeros(h.shape().with(-1, n * (n + 1)), h.dtype());
      beta = Tensor::zeros(h.shape().with(-1, n), h.dtype());
    }
    alpha = affine_columns(alpha, {}, c.alpha->value);
    beta = affine_columns(beta, {}, c.beta->value);
    const auto mixed = split_columns(mix_streams(h, alpha, n, MixOrder::by_source), {width_, n * width_});
    return mix_streams(branch(mixed[0]), beta, 1, MixOrder::by_result, mixed[1]);
  }

 private:
  struct Connection {
    Parameter *alpha = nullptr, *beta = nullptr, *norm_weight = nullptr, *norm_bias = nullptr, *to_alpha = nullptr,
              *to_beta = nullptr, *alpha_scale = nullptr, *beta_scale = nullptr;
  };
  static void beside(Tensor& all, const Tensor& more) { all = all.defined() ? join_columns(all, more) : more; }

  int64_t width_;
  std::array<Connection, 2> connections_;
};

constexpr std::string_view kVariants[] = {"{dynamic: false, streams: 3, ffn: none}",
                                          "{streams: 1, norm_at: both, dropout: 0.2, ffn: rwkv_channel_mix}"};

}  // namespace

extern constinit const LayerInfo hyper_connections = LayerInfo::of<HyperConnections>({
    .name = "hyper_connections",
    .title = "Hyper-connections: several residual streams",
    .family = "block",
    .recurrence = "that of its mixer",
    .paper = "Zhu et al. 2024, arXiv:2409.19606",
    .source = "none: the algorithms of the paper's appendix",
    .deviations = "any mixer, and a channel mixer or none, but neither `cross` nor `parallel`; output projections "
                  "start as in a residual block, there "
                  "sqrt(streams) times as wide; a layer counts as two in the order of streams that are read first, "
                  "with a channel mixer or without",
    .prefix_and_blocks = true,
    .unseen = "what its mixer meets",
    .needs = "{mixer: {type: attention}, ffn: {type: swiglu}}",
    .tiny = "{streams: 2, mixer: {type: attention, heads: 2, window: 5}, ffn: mlp}",
    .period = 5,
    .variants = kVariants,
});

}  // namespace effllm::blocks
