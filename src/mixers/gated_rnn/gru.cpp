// GRU: a state that a gate mixes with a candidate, where both see the state before.
//
//   r, z = sigmoid(W x_t + b + R h_{t-1})
//   n = tanh(W_n x_t + b_n + r * (R_n h_{t-1} + b'))
//   h_t = (1 - z) * n + z * h_{t-1}
//   y_t = h_t, or W_o h_t where the state is wider than the model
//
// Remembers h, [C] per sequence. Tokens come one after another; sequences are kept together, that a step is a product
// of matrices. Cho et al. 2014, arXiv:1406.1078, with PyTorch's place of the reset gate.
#include "cores/cell/cell.h"
#include "mixers/mixer.h"
#include "nn/linear.h"

namespace effllm::mixers {
namespace {

struct GruOptions final : Options {
  double expand = 1;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the state width, as a multiple of the model width.", between(0.01, 16));
  }
};

class Gru final : public Layer {
 public:
  using Options = GruOptions;

  Gru(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(width_of(o.expand, args, o)),
        weight_(s.param("in.weight", {3 * width_, args.d_model}, Init::torch_linear(width_),
                        {.role = Role::hidden, .dense = true, .matrices = std::vector(3, width_)})),
        bias_(s.param("in.bias", {3 * width_}, Init::torch_linear(width_), {.decay = false})),
        recurrent_(s.param("recurrent.weight", {3 * width_, width_}, Init::torch_linear(width_),
                           {.matrices = std::vector(3, width_)})),
        recurrent_bias_(s.param("recurrent.bias", {width_}, Init::torch_linear(width_), {.decay = false})) {
    if (width_ != args.d_model)
      out_ = std::make_unique<Linear>(s / "out", width_, args.d_model, Init::torch_linear(width_), Role::residual);
  }

  void declare(Site& site) const override { site.field("h", {width_}); }
  int64_t sequences_together() const override { return 8; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    auto [h, last] = gru_cell(linear(x, weight_.value, bias_.value, weight_.transposed), recurrent_.value,
                              recurrent_bias_.value, call.read("h"), call.segments());
    call.write("h", last);
    return out_ ? (*out_)(h) : h;
  }

 private:
  int64_t width_;
  Parameter &weight_, &bias_, &recurrent_, &recurrent_bias_;
  std::unique_ptr<Linear> out_;
};

constexpr std::string_view kVariants[] = {"{expand: 2}"};

}  // namespace

extern constinit const LayerInfo gru = LayerInfo::of<Gru>({
    .name = "gru",
    .title = "GRU",
    .family = "gated RNN",
    .recurrence = "cell",
    .paper = "Cho et al. 2014, arXiv:1406.1078; gates as PyTorch's nn.GRU",
    .source = "pytorch/pytorch@e6f551a, torch/nn/modules/rnn.py",
    .deviations =
        "the reset gate acts after the recurrent product, as in PyTorch and cuDNN, not before it; z keeps the "
        "old state; biases, of r and z one instead of PyTorch's two; initial values U(-1/sqrt C, 1/sqrt C) as "
        "PyTorch's; recurrent weights keep them where a model sets others for hidden weights",
    .variants = kVariants,
});

}  // namespace effllm::mixers
