// A layer whose memory is a linear model that learns while it reads: every token is one step of gradient descent.
//
//   q = RoPE(conv_q(W_qk x)), k = RoPE(conv_k(W_qk x)), v = W_v x; positions modulo the mini-batch
//   g_j = gradient of 1/2 |LN(k_j W + b) - (v_j - k_j)|^2 at the model W_0, b_0 that the mini-batch began with
//   (W_i, b_i) = (W_0, b_0) - tau_i sum_{j <= i} eta_j g_j,  tau_i = max(0, 1/i + token_scale_i),
//   eta_j = base_lr sigmoid(w_lr x_j + b_lr) / dh;  the next mini-batch begins with W_M, b_M
//   o_i = q_i + LN(q_i W_i + b_i),  y = W_o (layer_norm(o) * gelu_tanh(W_g x))
//
// Remembers per head W, b and the sum of the open mini-batch, 2 (dh^2 + dh) numbers, and the tail of the convolutions.
// Sun et al. 2024, arXiv:2407.04620, as in the authors' code for the Mamba backbone.
#include "cores/ttt/ttt.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/short_conv.h"
#include "ops/arithmetic.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "ops/rotary.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 1e-6;
constexpr double kStddev = 0.02;

struct TttLinearOptions final : Options {
  int64_t heads = 4, mini_batch = 16, conv = 4;
  double base_lr = 1, rope_theta = 10000;
  bool gate = true;
  void visit(OptionVisitor& v) override {
    v("heads", heads, "Sets the number of heads, each a linear model of its own.", between(1, 1024));
    v("mini_batch", mini_batch, "Sets how many tokens take their gradients at the same model.", between(1, 4096));
    v("base_lr", base_lr, "Sets the largest inner learning rate, before the division by the head width.",
      between(0, 1e6));
    v("conv", conv, "Sets the width of the causal depthwise convolutions that tell q from k, in tokens.",
      between(2, 64));
    v("gate", gate, "Multiplies the output by gelu of a projection of the input.");
    v("rope_theta", rope_theta, "Sets the base of the rotary frequencies.", at_least(1));
  }
};

class TttLinear final : public Layer {
 public:
  using Options = TttLinearOptions;

  TttLinear(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        width_(args.d_model),
        mini_batch_(o.mini_batch),
        base_lr_(o.base_lr),
        qk_(s / "qk", width_, width_, Init::normal(kStddev)),
        v_(s / "v", width_, width_, Init::normal(kStddev)),
        lr_(s / "lr", width_, heads_, Init::normal(kStddev), Role::own, true),
        out_(s / "out", width_, width_, Init::normal(kStddev), Role::residual),
        conv_q_(s / "conv_q", o.conv, width_, false, true),
        conv_k_(s / "conv_k", o.conv, width_, false, true) {
    if (width_ % heads_ || width_ / heads_ % 2)
      throw_at(o.mark, fmt::format("ttt_linear: {} heads don't cut d_model {} into even widths", heads_, width_));
    const int64_t n = width_ / heads_;
    const auto vector = [&](std::string_view part, std::string_view name, int64_t size, const Init& init) {
      return &(s / part).param(name, {size}, init, {.decay = false});
    };
    token_scale_ = &s.param("token_scale", {mini_batch_}, Init::zeros(), {.decay = false});
    ln_weight_ = vector("ln", "weight", width_, Init::ones());
    ln_bias_ = vector("ln", "bias", width_, Init::zeros());
    post_weight_ = vector("post_norm", "weight", width_, Init::ones());
    post_bias_ = vector("post_norm", "bias", width_, Init::zeros());
    w0_ = &s.param("w0", {heads_, n, n}, Init::normal(kStddev));
    b0_ = &s.param("b0", {width_}, Init::zeros(), {.decay = false});
    if (o.gate) gate_ = std::make_unique<Linear>(s / "gate", width_, width_, Init::normal(kStddev));
    rope_ = std::make_shared<RotaryTable>(n, o.rope_theta, mini_batch_);
  }

  void declare(Site& site) const override {
    const int64_t n = width_ / heads_;
    site.field("w", {heads_, n, n});
    site.field("b", {width_});
    site.field("sum_w", {heads_, n, n});
    site.field("sum_b", {width_});
    conv_q_.declare(site);
  }

  LongText long_text(int64_t) const override { return {.unseen = true, .anew = true}; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor shared = qk_(x), counted = call.counted(x), places = modulo(counted);
    // Both convolutions look at the same tokens before: one tail serves them.
    const Tensor tail = call.read("conv");
    const Tensor q = rotary(conv_q_(shared, call), places, heads_, rope_);
    const Tensor k = rotary(conv_k_(shared, tail, call.segments()).y, places, heads_, rope_);
    const Tensor eta = scale(sigmoid(lr_(x)), base_lr_ * static_cast<double>(heads_) / static_cast<double>(width_));
    const TttModel model{token_scale(), ln_weight_->value, ln_bias_->value, w0_->value, b0_->value};
    const TttState before{call.read("w"), call.read("b"), call.read("sum_w"), call.read("sum_b")};
    auto [o, after] = ttt(q, k, v_(x), eta, model, before, counted, {.heads = heads_, .eps = kNormEps});
    call.write("w", after.w);
    call.write("b", after.b);
    call.write("sum_w", after.sum_w);
    call.write("sum_b", after.sum_b);
    const Tensor y = layer_norm(o, post_weight_->value, post_bias_->value, kNormEps);
    return out_(gate_ ? multiply(y, pointwise(Pointwise::gelu_tanh, (*gate_)(x))) : y);
  }

 private:
  Tensor modulo(const Tensor& positions) const {
    const Tensor places = Tensor::dense(positions.shape(), DType::i64);
    if (places.is_meta()) return places;
    for (int64_t i = 0; i < places.numel(); ++i) places.data<int64_t>()[i] = positions.data<int64_t>()[i] % mini_batch_;
    return places;
  }
  // tau_i = max(0, 1/i + token_scale_i).
  Tensor token_scale() const {
    const Tensor mean = Tensor::empty(token_scale_->shape, token_scale_->value.dtype());
    if (!mean.is_meta())
      dispatch_float(mean.dtype(), [&]<class T>() {
        for (int64_t i = 0; i < mini_batch_; ++i) mean.data<T>()[i] = T(1) / static_cast<T>(i + 1);
      });
    return pointwise(Pointwise::relu, add(token_scale_->value, mean));
  }

  int64_t heads_, width_, mini_batch_;
  double base_lr_;
  Linear qk_, v_, lr_, out_;
  ShortConv conv_q_, conv_k_;
  Parameter *token_scale_, *ln_weight_, *ln_bias_, *post_weight_, *post_bias_, *w0_, *b0_;
  std::unique_ptr<Linear> gate_;
  std::shared_ptr<const RotaryTable> rope_;
};

// A cut of the tests falls inside a mini-batch of each of these sizes.
constexpr std::string_view kVariants[] = {"{gate: false}", "{mini_batch: 5, base_lr: 0.5}",
                                          "{mini_batch: 7, conv: 2, heads: 1, rope_theta: 100}"};

}  // namespace

extern constinit const LayerInfo ttt_linear = LayerInfo::of<TttLinear>({
    .name = "ttt_linear",
    .title = "TTT-Linear",
    .family = "test time",
    .recurrence = "ttt",
    .paper = "Sun et al. 2024, arXiv:2407.04620",
    .source = "test-time-training/ttt-lm-pytorch@cd831db, ttt.py",
    .deviations =
        "RoPE turns pairs (i, i + n/2) instead of neighbours, a permutation of each head's columns; one convolution "
        "tail in the state instead of two equal ones; any cut of a mini-batch into calls is allowed; the warm-up of "
        "base_lr is left out",
    .unseen = "a model of more gradient steps than in training",
    .tiny = "{heads: 2, mini_batch: 4, conv: 3}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
