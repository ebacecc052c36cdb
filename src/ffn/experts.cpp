#include "ffn/experts.h"

#include <cmath>

#include "cores/route/dispatch.h"
#include "ffn/activation.h"

namespace effllm {
namespace {

constexpr std::string_view kGated = "swiglu";
const Init kStart = Init::normal(0.02);

Tensor activate(const Tensor& x, bool gated, Pointwise f) { return gated ? swiglu(x) : pointwise(f, x); }
std::string_view name_of_first(bool gated) { return gated ? "gate_up" : "up"; }

Parameter& stack(const Scope& s, int64_t count, const std::vector<int64_t>& outs, int64_t in, Role role,
                 double active) {
  std::vector<int64_t> matrices;
  int64_t rows = 0;
  for (int64_t e = 0; e < count; ++e)
    for (const int64_t out : outs) matrices.push_back(out), rows += out;
  return s.param("weight", {rows, in}, kStart,
                 {.role = role, .dense = true, .active = active, .experts = count, .matrices = matrices});
}

}  // namespace

void ExpertOptions::visit(OptionVisitor& v) {
  v("expand", expand, "Sets the inner width of an expert, as a multiple of the model width.", between(0.01, 64));
  std::vector<std::string_view> known = {kGated};
  known.insert(known.end(), kActivations.begin(), kActivations.end());
  v("activation", activation, "Chooses what stands between an expert's products; swiglu has a gate, the others do not.",
    known);
}

int64_t ExpertOptions::inner(int64_t d_model) const {
  return std::max<int64_t>(1, std::llround(expand * static_cast<double>(d_model)));
}

SharedExpert::SharedExpert(const ExpertOptions& o, int64_t d_model, int64_t count, const Scope& s)
    : gated_(o.activation == kGated),
      f_(activation_named(o.activation)),
      up_(s / name_of_first(gated_), d_model, std::vector<int64_t>(gated_ ? 2 : 1, count * o.inner(d_model)), kStart),
      down_(s / "down", count * o.inner(d_model), d_model, kStart, Role::residual) {}

Tensor SharedExpert::operator()(const Tensor& x) const { return down_(activate(up_(x), gated_, f_)); }

Experts::Experts(const ExpertOptions& o, int64_t d_model, int64_t count, double active, const Scope& s)
    : count_(count), active_(active), gated_(o.activation == kGated), f_(activation_named(o.activation)) {
  const int64_t inner = o.inner(d_model);
  const double share = active / static_cast<double>(count);
  up_ = &stack(s / name_of_first(gated_), count, std::vector<int64_t>(gated_ ? 2 : 1, inner), d_model, Role::hidden,
               share);
  down_ = &stack(s / "down", count, {d_model}, inner, Role::residual, share);
}

Tensor Experts::operator()(const Tensor& x, const Tensor& experts, const Tensor& weights, int64_t known,
                           int64_t most_each) const {
  const Dispatch to = dispatch_to(experts, count_, known);
  double choices = active_ * static_cast<double>(x.rows());
  if (most_each > 0) choices = std::min(choices, static_cast<double>(count_ * most_each));
  const double share = known > 0 ? 1 : std::min(1.0, choices / static_cast<double>(to.room));
  const Tensor inner = activate(grouped_linear(pack_rows(x, to), up_->value, to, up_->transposed, share), gated_, f_);
  return unpack_rows(grouped_linear(inner, down_->value, to, down_->transposed, share), weights, to);
}

}  // namespace effllm
