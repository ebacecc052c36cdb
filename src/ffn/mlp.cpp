// The two-layer perceptron of the Transformer.
//
//   y = W_down f(W_up x)
//
// Remembers nothing. Vaswani et al. 2017, arXiv:1706.03762, section 3.3; f is GELU as in GPT-2 by default.
#include "ffn/activation.h"
#include "ffn/ffn.h"
#include "nn/linear.h"

namespace effllm::ffns {
namespace {

struct MlpOptions final : Options {
  double expand = 4;
  std::string activation = "gelu";
  bool bias = false;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the inner width, as a multiple of the model width.", between(0.01, 64));
    v("activation", activation, "Chooses f. gelu is the exact form, gelu_tanh its approximation, relu2 = relu(x)^2.",
      kActivations);
    v("bias", bias, "Adds learned offsets in both layers.");
  }
};

class Mlp final : public Layer {
 public:
  using Options = MlpOptions;

  Mlp(const Options& o, const LayerArgs& args, const Scope& s)
      : inner_(width_of(o.expand, args, o)),
        f_(activation_named(o.activation)),
        up_(s / "up", args.d_model, inner_, Init::gpt2(), Role::hidden, o.bias),
        down_(s / "down", inner_, args.d_model, Init::gpt2_residual(args.layers), Role::residual, o.bias) {}

 protected:
  Tensor run(const Tensor& x, const Call&) const override { return down_(pointwise(f_, up_(x))); }

 private:
  int64_t inner_;
  Pointwise f_;
  Linear up_, down_;
};

constexpr std::string_view kVariants[] = {"{activation: relu2, expand: 2}", "{activation: gelu_tanh, bias: true}"};

}  // namespace

extern constinit const LayerInfo mlp = LayerInfo::of<Mlp>({
    .name = "mlp",
    .title = "MLP",
    .family = "channel mixer",
    .recurrence = "none",
    .paper = "Vaswani et al. 2017, arXiv:1706.03762",
    .source = "karpathy/nanoGPT@3adf61e, model.py",
    .deviations = "init as in GPT-2; biases are an option",
    .prefix_and_blocks = true,
    .variants = kVariants,
});

}  // namespace effllm::ffns
