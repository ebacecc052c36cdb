// RG-LRU, the recurrent block of Hawk and Griffin: a diagonal linear recurrence whose decay is gated, and whose input
// is scaled so that h keeps its size.
//
//   [z; u] = W x + b,  u <- causal depthwise convolution of u
//   r_t = sigmoid(A_r u_t), i_t = sigmoid(A_i u_t), block-diagonal;   log a_t = -8 softplus(lambda) r_t
//   h_t = a_t * h_{t-1} + m_t * i_t * u_t,   m_t = sqrt(1 - a_t^2), or 1 at a document's first token
//   y_t = W_o (gelu(z_t) * h_t) + b_o
//
// Remembers h, [C] per sequence, and the tail of the convolution. De et al. 2024, arXiv:2402.19427, as in the authors'
// recurrentgemma.
#include <cmath>

#include "cores/scan/fused_scan.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/short_conv.h"
#include "ops/arithmetic.h"
#include "ops/block_linear.h"
#include "ops/columns.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kLeastRadius = 0.9, kMostRadius = 0.999;
constexpr double kConvVariance = 0.01;

struct RgLruOptions final : Options {
  double expand = 1;
  int64_t blocks = 4, conv = 4;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the state width, as a multiple of the model width.", between(0.01, 16));
    v("blocks", blocks, "Sets the number of diagonal blocks of the two gates' matrices, a divisor of the state width.",
      between(1, 4096));
    v("conv", conv, "Sets the width of the causal depthwise convolution in front, in tokens.", between(2, 64));
  }
};

Init lecun(int64_t fan_in) { return Init::normal(1 / std::sqrt(static_cast<double>(fan_in))); }
// What is added to the residual stream starts with the variance 2 / (layers fan_in).
Init into_stream(int64_t fan_in, int64_t layers) {
  return Init::normal(std::sqrt(2 / static_cast<double>(layers * fan_in)));
}

// softplus(lambda) = -log r, with r^2 uniform between the squares of the radii.
double initial_lambda(double u, int64_t, int64_t) {
  const double low = kLeastRadius * kLeastRadius, high = kMostRadius * kMostRadius;
  return std::log(std::expm1(-0.5 * std::log(low + u * (high - low))));
}

struct Gate {
  Gate(const Scope& s, int64_t width, int64_t blocks)
      : form{.blocks = blocks},
        weight(&s.param("weight", {width, width / blocks}, lecun(width / blocks),
                        {.role = Role::hidden, .matrices = std::vector(static_cast<size_t>(blocks), width / blocks)})),
        bias(&s.param("bias", {width}, Init::zeros(), {.decay = false})) {}
  Tensor operator()(const Tensor& x) const { return block_linear(x, weight->value, bias->value, form); }

  BlockForm form;
  Parameter *weight, *bias;
};

// Document starts of this call; a state that has seen nothing begins a document too.
Tensor starts_of(const Call& call, const Tensor& x) {
  const Tensor segments = call.segments(), seen = call.seen();
  if (!call.has_state()) return segments;
  const Tensor s = Tensor::dense({x.dim(0), x.dim(1)}, DType::i64);
  if (s.is_meta()) return s;
  for (int64_t b = 0; b < x.dim(0); ++b) {
    const int64_t fresh = seen.data<int64_t>()[b] == 0;
    for (int64_t t = 0; t < x.dim(1); ++t)
      s.view<int64_t>().row(b)[t] = fresh + (segments.defined() ? segments.view<int64_t>().row(b)[t] : 0);
  }
  return s;
}

class RgLru final : public Layer {
 public:
  using Options = RgLruOptions;

  RgLru(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(width_of(o.expand, args, o)),
        blocks_(divisor(o, width_)),
        in_(s / "in", args.d_model, {width_, width_}, lecun(args.d_model), Role::hidden, true),
        out_(s / "out", width_, args.d_model, into_stream(width_, args.layers), Role::residual, true),
        conv_(s / "conv", o.conv, width_, false, true,
              Init::normal(std::sqrt(kConvVariance / static_cast<double>(o.conv))), Init::zeros()),
        input_(s / "input_gate", width_, blocks_),
        recurrence_(s / "recurrence_gate", width_, blocks_),
        lambda_(&s.param("lambda", {width_}, Init::mapped(initial_lambda), {.decay = false})) {}

  void declare(Site& site) const override {
    site.field("h", {width_});
    conv_.declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto parts = split_columns(in_(x), {width_, width_});
    const Tensor u = conv_(parts[1], call);
    auto [h, last] = power_scan(recurrence_(u), input_(u), u, pointwise(Pointwise::softplus, lambda_->value),
                                call.read("h"), starts_of(call, x));
    call.write("h", last);
    return out_(multiply(pointwise(Pointwise::gelu_tanh, parts[0]), h));
  }

 private:
  static int64_t divisor(const Options& o, int64_t width) {
    if (width % o.blocks)
      throw_at(o.mark, fmt::format("rg_lru: {} blocks don't divide the state width {}", o.blocks, width));
    return o.blocks;
  }

  int64_t width_, blocks_;
  Linear in_, out_;
  ShortConv conv_;
  Gate input_, recurrence_;
  Parameter* lambda_;
};

constexpr std::string_view kVariants[] = {"{expand: 2, blocks: 1}", "{conv: 2, blocks: 8}"};

}  // namespace

extern constinit const LayerInfo rg_lru = LayerInfo::of<RgLru>({
    .name = "rg_lru",
    .title = "RG-LRU",
    .family = "gated RNN",
    .recurrence = "scan",
    .paper = "De et al. 2024, arXiv:2402.19427",
    .source = "google-deepmind/recurrentgemma@2efa84d, torch/modules.py, layers.py and griffin.py",
    .deviations =
        "the two input projections are one matrix; 1 - a^2 is -expm1(2 log a); the slope of its root is bounded "
        "by 1000, as in the authors' code; lambda starts as there, exp(-softplus(lambda)) between 0.9 and 0.999, "
        "where the paper says so of its 8th power; Griffin's local attention is a mixer of its own",
    .tiny = "{blocks: 2, conv: 4}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
