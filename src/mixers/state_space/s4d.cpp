// S4D: a linear state space with a constant diagonal transition, for each channel one of its own: a convolution with a
// kernel as long as the sequence, or a recurrence.
//
//   A_n = -exp(log_a_real_n) + i a_imag_n, n < N/2, one of each conjugate pair;  dt = exp(log_dt)
//   K_l = 2 Re sum_n C_n (exp(dt A_n) - 1) / A_n exp(dt A_n l)
//   y = W (gelu(K * u + d u)) + b, gated: first half * sigmoid(second half)
//
// Remembers sum_s exp(dt A_n)^(t-s) u_s, N real numbers a channel. Gu, Gupta, Goel and Re 2022, arXiv:2206.11893, as in
// the authors' s4d.py.
#include <cmath>
#include <numbers>

#include "cores/conv/fft_conv.h"
#include "cores/conv/modal.h"
#include "mixers/mixer.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/linear.h"
#include "ops/pointwise.h"

namespace effllm::mixers {
namespace {

constexpr double kLeastStep = 1e-3, kMostStep = 0.1;
constexpr double kSlow = 0.1;  // the authors train dt and A with 0.001 where the rest has 0.01

double log_step(double u, int64_t, int64_t) { return std::log(kLeastStep) + u * std::log(kMostStep / kLeastStep); }
double frequency(double, int64_t, int64_t column) { return std::numbers::pi * static_cast<double>(column); }

constexpr double kSlight = 0.01;  // what a mode may still remember of the first token when training's sequences end

struct S4dOptions final : Options {
  int64_t state = 64;
  void visit(OptionVisitor& v) override {
    v("state", state, "Sets the state of each channel, in real numbers: twice the conjugate pairs.", between(2, 1024));
  }
};

class S4d final : public Layer {
 public:
  using Options = S4dOptions;

  S4d(const Options& o, const LayerArgs& args, const Scope& s)
      : width_(args.d_model),
        state_(o.state),
        log_dt_(&s.param("log_dt", {width_}, Init::mapped(log_step), {.decay = false, .lr_scale = kSlow})),
        c_(&s.param("c", {width_, state_}, Init::normal(std::numbers::sqrt2 / 2))),
        log_a_real_(&s.param("log_a_real", {width_, state_ / 2}, Init::constant(std::log(0.5)),
                             {.decay = false, .lr_scale = kSlow})),
        a_imag_(&s.param("a_imag", {width_, state_ / 2}, Init::mapped(frequency), {.decay = false, .lr_scale = kSlow})),
        d_(&s.param("d", {width_}, Init::normal(1))),
        out_(&(s / "out").param("weight", {2 * width_, width_}, Init::torch_linear(width_),
                                {.role = Role::residual, .dense = true, .matrices = {width_, width_}})),
        out_bias_(&(s / "out").param("bias", {2 * width_}, Init::torch_linear(width_), {.decay = false})) {
    if (state_ % 2) throw_at(o.mark, fmt::format("s4d: a state of {} is not made of pairs", state_));
  }

  void declare(Site& site) const override { site.field("h", {state_, width_}); }
  // The slowest mode at the start: exp(-dt / 2) a token.
  LongText long_text(int64_t trained) const override {
    const bool unseen = std::exp(-kLeastStep / 2 * static_cast<double>(trained)) > kSlight;
    return {.unseen = unseen, .anew = unseen};
  }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    const Modes m = modes(log_dt_->value, c_->value, log_a_real_->value, a_imag_->value);
    const Tensor segments = call.segments();
    Tensor y;
    // Beside a convolution, what a state brings and the state at the end would cost 2 N operations each for every
    // token, and the kernel 2 N for every place: no less than the recurrence's 5.5 N.
    if (call.has_state()) {
      auto [read, last] = modal_scan(x, m, d_->value, call.read("h"), segments);
      y = read;
      call.write("h", last);
    } else {
      y = fft_conv(x, modal_kernel(m, d_->value, x.dim(1)), segments);
    }
    const Tensor wide = linear(pointwise(Pointwise::gelu, y), out_->value, out_bias_->value, out_->transposed);
    const auto parts = split_columns(wide, {width_, width_});
    return multiply(parts[0], sigmoid(parts[1]));
  }

 private:
  int64_t width_, state_;
  Parameter *log_dt_, *c_, *log_a_real_, *a_imag_, *d_, *out_, *out_bias_;
};

constexpr std::string_view kVariants[] = {"{state: 2}", "{state: 10}"};

}  // namespace

extern constinit const LayerInfo s4d = LayerInfo::of<S4d>({
    .name = "s4d",
    .title = "S4D",
    .family = "state space",
    .recurrence = "long convolution, modal scan",
    .paper = "Gu, Gupta, Goel and Re 2022, arXiv:2206.11893",
    .source = "state-spaces/s4@e757cef, models/s4/s4d.py and example.py",
    .deviations =
        "a convolution where nothing is carried (documents of up to 64 tokens term by term, longer ones by "
        "Fourier transforms), the recurrence wherever there is a state; dt and A learn at a tenth of the run's rate "
        "and don't decay, as 0.001 of 0.01 in the authors' example; no dropout inside; exp(dt A) is computed in f64",
    .waivers = {.split = "",
                .causal = "a Fourier transform mixes all tokens of a document: later ones reach earlier ones by its "
                          "rounding, where sums over them cancel"},
    .unseen = "a kernel whose slow modes reach further than the sequences of training",
    .tiny = "{state: 4}",
    .period = 32,
    .variants = kVariants,
});

}  // namespace effllm::mixers
