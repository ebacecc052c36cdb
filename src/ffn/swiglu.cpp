// The gated perceptron of Llama.
//
//   y = W_down (silu(W_gate x) * W_up x)
//
// Remembers nothing. The two input projections are one matrix, gate rows first. Shazeer 2020, arXiv:2002.05202.
#include "ffn/ffn.h"
#include "nn/linear.h"
#include "ops/pointwise.h"

namespace effllm::ffns {
namespace {

struct SwigluOptions final : Options {
  double expand = 8.0 / 3;
  int64_t multiple_of = 1;
  void visit(OptionVisitor& v) override {
    v("expand", expand,
      "Sets the inner width, as a multiple of the model width; 8/3 has the parameters of an mlp with 4.",
      between(0.01, 64));
    v("multiple_of", multiple_of, "Rounds the inner width up to a multiple of this.", between(1, 4096));
  }
};

class Swiglu final : public Layer {
 public:
  using Options = SwigluOptions;

  Swiglu(const Options& o, const LayerArgs& args, const Scope& s)
      : inner_(round_up(width_of(o.expand, args, o), o.multiple_of)),
        gate_up_(s / "gate_up", args.d_model, {inner_, inner_}, Init::normal(0.02)),
        down_(s / "down", inner_, args.d_model, Init::normal(0.02), Role::residual) {}

 protected:
  Tensor run(const Tensor& x, const Call&) const override { return down_(effllm::swiglu(gate_up_(x))); }

 private:
  static int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
  int64_t inner_;
  Linear gate_up_, down_;
};

constexpr std::string_view kVariants[] = {"{expand: 3}", "{multiple_of: 16}"};

}  // namespace

extern constinit const LayerInfo swiglu = LayerInfo::of<Swiglu>({
    .name = "swiglu",
    .title = "SwiGLU",
    .family = "channel mixer",
    .recurrence = "none",
    .paper = "Shazeer 2020, arXiv:2002.05202",
    .source = "fla-org/flash-linear-attention@bc3b101, modules/mlp.py; its paper gives no start",
    .deviations = "init N(0, 0.02), of both layers, as there; the inner width is not rounded up unless asked",
    .prefix_and_blocks = true,
    .variants = kVariants,
});

}  // namespace effllm::ffns
