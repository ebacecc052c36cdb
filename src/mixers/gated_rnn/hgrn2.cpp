// HGRN2: HGRN with a matrix for a state and no more parameters. The forget gate is the decay of a row, what it lets go
// is the key, the input the value, the output gate the query.
//
//   f_t = lb + (1 - lb) * sigmoid(W_f x_t),   S_t = diag(f_t) S_{t-1} + (1 - f_t) (W_i x_t)^T
//   y_t = W_o rms_norm(S_t^T silu(W_q x_t)), the norm over all heads together and without a weight
//   lb of the l-th HGRN2 layer: P_1 + .. + P_l, P = softmax(hgrn2_floor) over the L such layers (numbered from 0)
//
// `hgrn2_floor` [L, D] is one parameter of the whole model. Remembers S, [H, n, n] per sequence, H n = D. Qin et al.
// 2024, arXiv:2404.07904, as in the authors' hgru2-pytorch.
#include <algorithm>

#include "cores/gla/gla.h"
#include "mixers/mixer.h"
#include "nn/linear.h"
#include "nn/row_per_layer.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/gate_floor.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 1e-6, kInitStd = 0.02;
constexpr int64_t kHeadDim = 128;

struct Hgrn2Options final : Options {
  std::optional<int64_t> head_dim;
  void visit(OptionVisitor& v) override {
    v("head_dim", head_dim,
      "Sets the columns of a head and the rows of its state, a divisor of d_model; default: 128, or d_model if less.",
      between(1, 4096));
  }
};

class Hgrn2 final : public Layer {
 public:
  using Options = Hgrn2Options;

  Hgrn2(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(args.d_model),
        head_dim_(o.head_dim.value_or(std::min(kHeadDim, args.d_model))),
        layer_(args.index_of_kind),
        in_(s / "in", width_, {width_, width_, width_}, Init::normal(kInitStd)),
        out_(s / "out", width_, width_, Init::normal(kInitStd), Role::residual),
        floor_(&row_per_layer(s, "hgrn2_floor", width_, args, Init::zeros(), {.decay = false}, o.mark, "d_model")) {
    if (width_ % head_dim_)
      throw_at(o.mark, fmt::format("hgrn2: head_dim {} does not divide d_model {}", head_dim_, width_));
  }

  void declare(Site& site) const override { site.field("s", {width_ / head_dim_, head_dim_, head_dim_}); }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto i_f_o = split_columns(in_(x), {width_, width_, width_});
    const Tensor floor = gate_floor(floor_->value, layer_), let_go = scale(i_f_o[1], -1);
    // f = (1 + lb e^-z) / (1 + e^-z): log f is finite for every z, and 1 - f = (1 - lb) sigmoid(-z) no difference.
    const Tensor log_f =
        add(pointwise(Pointwise::softplus, affine_columns(let_go, {}, pointwise(Pointwise::log, floor))),
            pointwise(Pointwise::log_sigmoid, i_f_o[1]));
    const Tensor key = affine_columns(sigmoid(let_go), one_minus(floor));
    const GlaOptions options{.heads = width_ / head_dim_, .decay = Decay::key, .chunk = call.pass().chunk};
    auto [o, after] = effllm::gla(silu(i_f_o[2]), key, i_f_o[0], log_f, call.read("s"), call.segments(), options);
    call.write("s", after);
    return out_(rms_norm(o, width_, kNormEps));
  }

 private:
  int64_t width_, head_dim_, layer_;
  Linear in_, out_;
  Parameter* floor_;
};

constexpr std::string_view kVariants[] = {"{head_dim: 8}", "{head_dim: 1}"};

}  // namespace

extern constinit const LayerInfo hgrn2 = LayerInfo::of<Hgrn2>({
    .name = "hgrn2",
    .title = "HGRN2",
    .family = "gated RNN",
    .recurrence = "gla",
    .paper = "Qin et al. 2024, arXiv:2404.07904",
    .source = "Doraemonzzz/hgru2-pytorch@caf92f0, models/modeling_hgrn2.py: the language model",
    .deviations = "the three input projections are one matrix; computed by a time-tiled recurrence at every length; "
                  "floors count HGRN2 layers alone, or inside another mixer the layers of that kind, and do not decay",
    .tiny = "{head_dim: 4}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
