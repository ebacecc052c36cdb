// Mamba: a diagonal state space whose step size, input and read depend on the token, so that it can choose what to
// keep.
//
//   [x, z] = W_in u;  x = silu(conv(x));  [dt, B, C] = W_x x;  delta = softplus(W_dt dt + b_dt)
//   h_t = exp(-delta_t exp(a_log)) h_{t-1} + delta_t B_t x_t,   for each channel and each of its N states
//   y_t = W_out ((C_t h_t + d x_t) * silu(z_t))
//
// Remembers h, [N, I] per sequence, and the tail of the convolution. Gu and Dao 2023, arXiv:2312.00752, as in the
// authors' code.
#include <cmath>

#include "cores/scan/selective_scan.h"
#include "mixers/mixer.h"
#include "mixers/state_space/mamba_out.h"
#include "nn/linear.h"
#include "nn/short_conv.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kLeastStep = 1e-3, kMostStep = 0.1, kStepFloor = 1e-4;  // of softplus(dt.bias) at the start

// The inverse of softplus, of a step size that is log-uniform.
double step_bias(double u, int64_t, int64_t) {
  const double step = std::max(kStepFloor, kLeastStep * std::pow(kMostStep / kLeastStep, u));
  return step + std::log(-std::expm1(-step));
}
// Rates 1, 2, .. N in every channel (S4D-Real).
double log_rate(double, int64_t, int64_t column) { return std::log(static_cast<double>(column + 1)); }

struct MambaOptions final : Options {
  double expand = 2;
  int64_t state = 16, conv = 4, dt_rank = 0;
  void visit(OptionVisitor& v) override {
    v("expand", expand, "Sets the inner width, as a multiple of the model width.", between(0.01, 16));
    v("state", state, "Sets the number of states of each channel.", between(1, 256));
    v("conv", conv, "Sets the width of the causal depthwise convolution in front, in tokens.", between(2, 64));
    v("dt_rank", dt_rank,
      "Sets the rank of the projection to step sizes; 0 is a sixteenth of the model width, rounded up.",
      between(0, 4096));
  }
};

class Mamba final : public Layer {
 public:
  using Options = MambaOptions;

  Mamba(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(width_of(o.expand, args, o)),
        states_(o.state),
        rank_(o.dt_rank > 0 ? o.dt_rank : (args.d_model + 15) / 16),
        in_(s / "in", args.d_model, {width_, width_}, Init::torch_linear(args.d_model)),
        conv_(s / "conv", o.conv, width_, true, true),
        parts_(s / "x_proj", width_, {rank_, states_, states_}, Init::torch_linear(width_)),
        dt_weight_(&(s / "dt").param("weight", {width_, rank_}, Init::torch_linear(rank_),
                                     {.dense = true, .matrices = {width_}})),
        dt_bias_(&(s / "dt").param("bias", {width_}, Init::mapped(step_bias), {.decay = false})),
        a_log_(&s.param("a_log", {width_, states_}, Init::mapped(log_rate), {.decay = false})),
        d_(&s.param("d", {width_}, Init::ones(), {.decay = false})),
        out_(s / "out", width_, args.d_model, mamba_out(width_, args), Role::residual) {}

  void declare(Site& site) const override {
    site.field("h", {states_, width_});
    conv_.declare(site);
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const auto x_z = split_columns(in_(x), {width_, width_});
    const Tensor u = conv_(x_z[0], call);
    const auto dt_b_c = split_columns(parts_(u), {rank_, states_, states_});
    const Tensor steps =
        pointwise(Pointwise::softplus, linear(dt_b_c[0], dt_weight_->value, dt_bias_->value, dt_weight_->transposed));
    auto [y, last] = selective_scan({.x = u,
                                     .delta = steps,
                                     .a_log = a_log_->value,
                                     .b = dt_b_c[1],
                                     .c = dt_b_c[2],
                                     .skip = d_->value,
                                     .state0 = call.read("h"),
                                     .segments = call.segments()});
    call.write("h", last);
    return out_(multiply(y, silu(x_z[1])));
  }

 private:
  int64_t width_, states_, rank_;
  Linear in_;
  ShortConv conv_;
  Linear parts_;
  Parameter *dt_weight_, *dt_bias_, *a_log_, *d_;
  Linear out_;
};

constexpr std::string_view kVariants[] = {"{expand: 1.5, state: 3, conv: 2}", "{dt_rank: 3, conv: 3}"};

}  // namespace

extern constinit const LayerInfo mamba = LayerInfo::of<Mamba>({
    .name = "mamba",
    .title = "Mamba",
    .family = "state space",
    .recurrence = "selective scan",
    .paper = "Gu and Dao 2023, arXiv:2312.00752",
    .source = "state-spaces/mamba@e9594ce, modules/mamba_simple.py and models/mixer_seq_simple.py",
    .deviations = "one kernel for all lengths, sequential in time; dt's bias does not decay",
    .tiny = "{state: 4, dt_rank: 2}",
    .period = 16,
    .variants = kVariants,
});

}  // namespace effllm::mixers
