// minGRU: a GRU whose gate and candidate see the input only, so that the recurrence is linear in h and scans.
//
//   z_t = sigmoid(W_z x_t)
//   h_t = (1 - z_t) * h_{t-1} + z_t * g(W_h x_t),   g(u) = u + 1/2 for u >= 0, sigmoid(u) below
//   y_t = h_t, or W_o h_t where the state is wider than the model
//
// Remembers h, [C] per sequence, and the tail of the optional convolution. Feng et al. 2024, arXiv:2410.01201; the
// candidate without g is the paper's "vanilla" form (its section 3.1).
#include <cmath>

#include "cores/scan/fused_scan.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/short_conv.h"
#include "ops/columns.h"

namespace effllm::mixers {
namespace {

struct MinGruOptions final : Options {
  double expand = 1;
  std::string candidate = "g";
  int64_t conv = 0;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the state width, as a multiple of the model width.", between(0.01, 16));
    v("candidate", candidate, "Chooses the candidate: g(W_h x), which is positive, or W_h x itself.", {"g", "linear"});
    v("conv", conv, "Sets the width of a causal depthwise convolution in front, in tokens; 0 leaves it out.",
      between(0, 64));
  }
};

class MinGru final : public Layer {
 public:
  using Options = MinGruOptions;

  MinGru(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(std::llround(o.expand * static_cast<double>(args.d_model))),
        candidate_(o.candidate == "linear" ? Candidate::linear : Candidate::positive),
        in_(s / "in", args.d_model, {width_, width_}, Init::torch_linear(args.d_model)) {
    if (o.conv > 0) conv_ = std::make_unique<ShortConv>(s / "conv", o.conv, args.d_model);
    if (width_ != args.d_model)
      out_ = std::make_unique<Linear>(s / "out", width_, args.d_model, Init::torch_linear(width_), Role::residual);
  }

  void declare(Site& site) const override {
    site.field("h", {width_});
    if (conv_) conv_->declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Tensor u = conv_ ? (*conv_)(x, call) : x;
    const auto parts = split_columns(in_(u), {width_, width_});
    auto [h, last] = gated_scan(parts[0], parts[1], candidate_, call.read("h"), call.segments());
    call.write("h", last);
    return out_ ? (*out_)(h) : h;
  }

 private:
  int64_t width_;
  Candidate candidate_;
  std::unique_ptr<ShortConv> conv_;
  Linear in_;
  std::unique_ptr<Linear> out_;
};

constexpr std::string_view kVariants[] = {"{candidate: linear}", "{expand: 2}", "{conv: 3}"};

}  // namespace

extern constinit const LayerInfo min_gru = LayerInfo::of<MinGru>({
    .name = "min_gru",
    .title = "minGRU",
    .family = "gated RNN",
    .recurrence = "scan",
    .paper = "Feng et al. 2024, arXiv:2410.01201",
    .source = "lucidrains/minGRU-pytorch@38b26e1, minGRU.py; the authors published none that could be read",
    .deviations = "computed in linear space by a sequential scan, which equals the paper's log-space scan in exact "
                  "arithmetic; h starts at 0; the convolution of the paper's block is an option of the mixer",
    .variants = kVariants,
});

}  // namespace effllm::mixers
