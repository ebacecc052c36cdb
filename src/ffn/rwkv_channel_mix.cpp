// The channel mix of RWKV-6: a perceptron with squared ReLU behind a gate, whose inputs are mixtures of this token and
// the one before.
//
//   x_k = x_t + (x_{t-1} - x_t) * mix_k,   x_r = x_t + (x_{t-1} - x_t) * mix_r
//   y_t = sigmoid(W_r x_r) * W_v relu(W_k x_k)^2
//
// Remembers the last token, [1, D] per sequence. Peng et al. 2024, arXiv:2404.05892, as in RWKV-LM's x060.
#include <cmath>

#include "cores/conv/token_mix.h"
#include "ffn/ffn.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/pointwise.h"

namespace effllm::ffns {
namespace {

struct RwkvChannelMixOptions final : Options {
  double expand = 3.5;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the inner width, as a multiple of the model width.", between(0.01, 64));
  }
};

class RwkvChannelMix final : public Layer {
 public:
  using Options = RwkvChannelMixOptions;

  RwkvChannelMix(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(args.d_model),
        inner_(width_of(o.expand, args, o)),
        mix_k_(&s.param("mix_k", {width_}, ramp(args), {.decay = false})),
        mix_r_(&s.param("mix_r", {width_}, ramp(args), {.decay = false})),
        key_(s / "key", width_, inner_,
             Init::normal(1 / std::sqrt(static_cast<double>(std::max(width_, inner_))))),  // as an orthogonal matrix
        receptance_(s / "receptance", width_, width_, Init::zeros()),
        value_(s / "value", inner_, width_, Init::zeros(), Role::residual) {}

  void declare(Site& site) const override { site.field("shift", {1, width_}); }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor segments = call.segments(), before = call.read("shift");
    auto [x_k, last] = token_mix(x, before, segments, mix_k_->value);
    const Tensor x_r = token_mix(x, before, segments, mix_r_->value).y;
    call.write("shift", last);
    return multiply(sigmoid(receptance_(x_r)), value_(pointwise(Pointwise::relu2, key_(x_k))));
  }

 private:
  // RWKV-LM's: the first channels take the token before, later ones this token, the more so in the first layers.
  static Init ramp(const LayerArgs& args) {
    const double width = static_cast<double>(args.d_model),
                 shallow = 1 - static_cast<double>(args.layer) / static_cast<double>(args.layers),
                 power = shallow * shallow * shallow;
    return Init::mapped(
        [=](double, int64_t, int64_t c) { return 1 - std::pow(static_cast<double>(c) / width, power); });
  }

  int64_t width_, inner_;
  Parameter *mix_k_, *mix_r_;
  Linear key_, receptance_, value_;
};

constexpr std::string_view kVariants[] = {"{expand: 2}"};

}  // namespace

extern constinit const LayerInfo rwkv_channel_mix = LayerInfo::of<RwkvChannelMix>({
    .name = "rwkv_channel_mix",
    .title = "RWKV-6 channel mix",
    .family = "channel mixer",
    .recurrence = "token shift",
    .paper = "Peng et al. 2024, arXiv:2404.05892",
    .source = "BlinkDL/RWKV-LM@524481d, RWKV-v5/src/model.py: x060",
    .deviations = "the inner width is not rounded down to a multiple of 32; the matrix that RWKV-LM starts orthogonal "
                  "starts normal with the same spread",
    .variants = kVariants,
});

}  // namespace effllm::ffns
