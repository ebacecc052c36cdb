// HGRN: a gated linear recurrence whose forget gates have a learned floor that grows with depth, so that lower layers
// may forget at once and upper layers must remember.
//
//   f_t = lb + (1 - lb) * sigmoid(W_f x_t),   h_t = f_t * h_{t-1} + (1 - f_t) * silu(W_c x_t)
//   y_t = W_o (rms_norm(h_t) * silu(W_g x_t))
//   lb of the l-th HGRN layer: P_1 + .. + P_l, P = softmax(hgrn_floor) over the L such layers (numbered from 0)
//
// `hgrn_floor` [L, C] is one parameter of the whole model. Remembers h, [C] per sequence. Qin et al. 2023,
// arXiv:2311.04823, in the real-valued form of flash-linear-attention.
#include "cores/scan/fused_scan.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/norm.h"
#include "nn/row_per_layer.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/gate_floor.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 1e-5;
constexpr double kInitStd = 0.02;

struct HgrnOptions final : Options {
  double expand = 1;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the state width, as a multiple of the model width; it is the same in all HGRN layers.",
      between(0.01, 16));
  }
};

class Hgrn final : public Layer {
 public:
  using Options = HgrnOptions;

  Hgrn(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(width_of(o.expand, args, o)),
        layer_(args.index_of_kind),
        in_(s / "in", args.d_model, {width_, width_, width_}, Init::normal(kInitStd)),
        out_(s / "out", width_, args.d_model, Init::normal(kInitStd), Role::residual),
        norm_(s / "norm", width_, kNormEps),
        floor_(&row_per_layer(s, "hgrn_floor", width_, args, Init::zeros(), {.decay = false}, o.mark, "`expand`")) {}

  void declare(Site& site) const override { site.field("h", {width_}); }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto parts = split_columns(in_(x), {width_, width_, width_});
    auto [h, last] =
        floored_scan(parts[1], parts[0], gate_floor(floor_->value, layer_), call.read("h"), call.segments());
    call.write("h", last);
    return out_(multiply(norm_(h), silu(parts[2])));
  }

 private:
  int64_t width_, layer_;
  Linear in_, out_;
  RmsNorm norm_;
  Parameter* floor_;
};

constexpr std::string_view kVariants[] = {"{expand: 2}"};

}  // namespace

extern constinit const LayerInfo hgrn = LayerInfo::of<Hgrn>({
    .name = "hgrn",
    .title = "HGRN",
    .family = "gated RNN",
    .recurrence = "scan",
    .paper = "Qin et al. 2023, arXiv:2311.04823",
    .source = "fla-org/flash-linear-attention@bc3b101, layers and models of hgrn",
    .deviations =
        "real-valued as in flash-linear-attention: without the paper's complex phase, with SiLU where it has "
        "it and an RMS norm times SiLU gate at the output; init N(0, 0.02), floors start equal, as there; norm eps "
        "1e-5, the default of its layer, whose model passes 1e-6; "
        "floors count HGRN layers alone, or inside another mixer the layers of that kind, and do not decay",
    .variants = kVariants,
});

}  // namespace effllm::mixers
