// RetNet: linear attention whose state decays by a constant of its head.
//
//   S_t = c S_{t-1} + k_t v_t^T / sqrt(dk),   c = 1 - 2^(-5-h),   q and k rotated by position
//   o_t = S_t^T q_t / sqrt(c^0 + .. + c^t), t from the document's start
//   y_t = W_o (rms_norm(o_t) * silu(W_g x_t)), the norm per head and without a weight
//
// Remembers S, [H, dk, dv] per sequence. Sun et al. 2023, arXiv:2307.08621, as in torchscale.
#include <cmath>

#include "cores/gla/gla.h"
#include "mixers/mixer.h"
#include "nn/augment.h"
#include "nn/linear.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/groups.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "ops/rotary.h"

namespace effllm::mixers {
namespace {

constexpr double kNormEps = 1e-6, kTheta = 10000;
constexpr double kGain = 0.17677669529663687, kOutGain = 0.5;  // 2^-2.5, 2^-1: of the xavier initialisation

struct RetnetOptions final : Options {
  int64_t heads = 4;
  double expand_v = 2;
  bool row_scale = true;
  AugmentOptions augment;
  void visit(OptionVisitor& v) override {
    v("heads", heads,
      "Sets the number of heads; they share out key and value width. Head h halves its memory every 22 * 2^h tokens.",
      between(1, 40));
    v("expand_v", expand_v, "Sets the value width, as a multiple of the model width.", between(0.01, 16));
    v("row_scale", row_scale,
      "Divides what a token reads by the root of the sum of its decays; the norm undoes it, but for its eps.");
    augment.visit(v);
  }
};

constexpr double kSlight = 0.01;  // weight of a token so far away that its angle doesn't matter

class Retnet final : public Layer {
 public:
  using Options = RetnetOptions;

  Retnet(const Options& o, const LayerArgs& args, const Scope& s)
      : heads_(o.heads),
        keys_(args.d_model),
        values_(width_of(o.expand_v, args, o)),
        qkvg_(s / "qkvg", args.d_model, {keys_, keys_, values_, values_},
              Init::stacked({{2 * keys_, Init::xavier_uniform(args.d_model, keys_, kGain)},
                             {2 * values_, Init::xavier_uniform(args.d_model, values_, kGain)}})),
        out_(s / "out", values_, args.d_model, Init::xavier_uniform(values_, args.d_model, kOutGain), Role::residual),
        row_scale_(o.row_scale),
        augment_(o.augment, s, heads_, values_) {
    if (keys_ % (2 * heads_) || values_ % heads_)
      throw_at(o.mark, fmt::format("retnet: {} heads don't divide key width {} into even parts and value width {}",
                                   heads_, keys_, values_));
    table_ = std::make_shared<RotaryTable>(keys_ / heads_, kTheta, args.max_tokens);
    for (int64_t h = 0; h < heads_; ++h) log_decay_.push_back(std::log1p(-std::exp2(static_cast<double>(-5 - h))));
    log_decay_f32_.assign(log_decay_.begin(), log_decay_.end());
  }

  void declare(Site& site) const override {
    site.field("s", {heads_, keys_ / heads_, values_ / heads_});
    augment_.declare(site);
  }
  LongText long_text(int64_t trained) const override {
    const bool unseen = std::exp(log_decay_.back() * static_cast<double>(trained)) > kSlight;
    return {.unseen = unseen, .anew = unseen};
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto qk_v_g = split_columns(qkvg_(x), {2 * keys_, values_, values_});
    const Tensor positions = call.positions(x);
    const auto qk = split_columns(rotary(qk_v_g[0], positions, 2 * heads_, table_), {keys_, keys_});
    const GlaOptions options{.heads = heads_, .decay = Decay::scalar, .chunk = call.pass().chunk};
    // All factors of o are on q, the narrowest: k's 1/sqrt(dk) and, unless left to the norm, that of the row.
    const Tensor q =
        row_scale_ ? multiply_groups(qk[0], row_factors(positions, x.dtype())) : scale(qk[0], key_factor());
    auto [o, after] = effllm::gla(q, qk[1], qk_v_g[1], log_decay(x.dtype()), call.read("s"), call.segments(), options);
    call.write("s", after);
    return out_(multiply(rms_norm(augment_(o, qk_v_g[1], call), values_ / heads_, kNormEps), silu(qk_v_g[2])));
  }

 private:
  Tensor log_decay(DType t) const {
    if (t == DType::f64) return Tensor::view_of(std::span(log_decay_), {heads_});
    return Tensor::view_of(std::span(log_decay_f32_), {heads_});
  }

  double key_factor() const { return 1 / std::sqrt(static_cast<double>(keys_ / heads_)); }
  // 1 / sqrt(dk (1 - c^(t+1)) / (1 - c)) for each token and head: [B, T, H].
  Tensor row_factors(const Tensor& positions, DType type) const {
    const Tensor f = Tensor::empty({positions.dim(0), positions.dim(1), heads_}, type);
    if (f.is_meta()) return f;
    const int64_t* t = positions.data<int64_t>();
    dispatch_float(type, [&]<class T>() {
      const auto rows = f.view<T>();
      for (int64_t r = 0; r < rows.rows; ++r)
        for (int64_t h = 0; h < heads_; ++h) {
          const double log_c = log_decay_[static_cast<size_t>(h)];
          const double sum = std::expm1(static_cast<double>(t[r] + 1) * log_c) / std::expm1(log_c);
          rows.row(r)[h] = static_cast<T>(key_factor() / std::sqrt(sum));
        }
    });
    return f;
  }

  int64_t heads_, keys_, values_;
  Linear qkvg_, out_;
  bool row_scale_;
  Augment augment_;
  std::shared_ptr<const RotaryTable> table_;
  std::vector<double> log_decay_;
  std::vector<float> log_decay_f32_;
};

constexpr std::string_view kVariants[] = {"{heads: 1}", "{heads: 1, expand_v: 1}", "{augment: dwconv, augment_taps: 4}",
                                          "{row_scale: false}"};

}  // namespace

extern constinit const LayerInfo retnet = LayerInfo::of<Retnet>({
    .name = "retnet",
    .title = "RetNet",
    .family = "linear attention",
    .recurrence = "gla",
    .paper = "Sun et al. 2023, arXiv:2307.08621",
    .source = "microsoft/torchscale@4d1e0e8, component/multiscale_retention.py and architecture/retnet.py",
    .deviations =
        "rotation without xPos's scaling, as in torchscale, in half-split pairs (columns in another order) and "
        "with the usual frequencies 10000^(-2i/dk), where torchscale's exponents end at 1; "
        "computed by a time-tiled recurrence at every length; of torchscale's forms the recurrent one is followed: "
        "no division of a row by the sum of its scores where that is above 1; q, k, v and the gate are one matrix; "
        "`out` with the gain 2^-1 of 2023-11 and later",
    .unseen = "rotations by distances at which the slowest head still remembers",
    .tiny = "{heads: 4}",
    .variants = kVariants,
});

}  // namespace effllm::mixers
