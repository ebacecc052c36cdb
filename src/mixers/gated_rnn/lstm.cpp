// LSTM: a cell whose sum of what came in is kept or let go by gates that see the state before.
//
//   i, f, o = sigmoid(.), g = tanh(.) of W x_t + b + R h_{t-1}
//   c_t = f * c_{t-1} + i * g
//   h_t = o * tanh(c_t)
//   y_t = h_t, or W_o h_t where the state is wider than the model
//
// Remembers h and c, [C] each per sequence. The gates see h_{t-1}, so tokens come one after another: sequences are kept
// together, that a step is a product of matrices. Hochreiter and Schmidhuber 1997; the forget gate of Gers et al. 2000.
#include <cmath>

#include "cores/cell/cell.h"
#include "mixers/mixer.h"
#include "nn/linear.h"

namespace effllm::mixers {
namespace {

struct LstmOptions final : Options {
  double expand = 1, forget_bias = 1;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the state width, as a multiple of the model width.", between(0.01, 16));
    v("forget_bias", forget_bias,
      "Is added to the initial bias of the forget gate: above 0, memories last from the start.", between(-100, 100));
  }
};

class Lstm final : public Layer {
 public:
  using Options = LstmOptions;

  Lstm(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(width_of(o.expand, args, o)),
        weight_(s.param("in.weight", {4 * width_, args.d_model}, Init::torch_linear(width_),
                        {.role = Role::hidden, .dense = true, .matrices = std::vector(4, width_)})),
        bias_(s.param("in.bias", {4 * width_}, bias_init(width_, o.forget_bias), {.decay = false})),
        recurrent_(s.param("recurrent.weight", {4 * width_, width_}, Init::torch_linear(width_),
                           {.matrices = std::vector(4, width_)})) {
    if (width_ != args.d_model)
      out_ = std::make_unique<Linear>(s / "out", width_, args.d_model, Init::torch_linear(width_), Role::residual);
  }

  void declare(Site& site) const override {
    site.field("h", {width_});
    site.field("c", {width_});
  }
  int64_t sequences_together() const override { return 8; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    auto [h, last_h, last_c] = lstm_cell(linear(x, weight_.value, bias_.value, weight_.transposed), recurrent_.value,
                                         call.read("h"), call.read("c"), call.segments());
    call.write("h", last_h);
    call.write("c", last_c);
    return out_ ? (*out_)(h) : h;
  }

 private:
  // As PyTorch's, and forget_bias more in the second block of gates.
  static Init bias_init(int64_t width, double forget_bias) {
    const double bound = 1 / std::sqrt(static_cast<double>(width));
    return Init::mapped([=](double u, int64_t, int64_t column) {
      return bound * (2 * u - 1) + (column / width == 1 ? forget_bias : 0);
    });
  }
  int64_t width_;
  Parameter &weight_, &bias_, &recurrent_;
  std::unique_ptr<Linear> out_;
};

constexpr std::string_view kVariants[] = {"{expand: 2}"};

}  // namespace

extern constinit const LayerInfo lstm = LayerInfo::of<Lstm>({
    .name = "lstm",
    .title = "LSTM",
    .family = "gated RNN",
    .recurrence = "cell",
    .paper = "Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; gates as PyTorch's nn.LSTM",
    .source = "pytorch/pytorch@e6f551a, torch/nn/modules/rnn.py",
    .deviations = "forget gate of Gers et al. 2000, no peepholes; full gradients through time; one bias instead of "
                  "PyTorch's two; initial values U(-1/sqrt C, 1/sqrt C) as PyTorch's, the forget gate's bias 1 more; "
                  "recurrent weights keep them where a model sets others for hidden weights",
    .variants = kVariants,
});

}  // namespace effllm::mixers
