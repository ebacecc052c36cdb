#include "blocks/manifold.h"

#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/linear.h"
#include "ops/mix_streams.h"
#include "ops/norm.h"
#include "ops/pointwise.h"

namespace effllm {
namespace {

constexpr double kScale = 0.01, kApart = -8;  // of the matrix's other numbers as it starts, before exp

}  // namespace

void ManifoldOptions::visit(OptionVisitor& v) {
  StreamOptions::visit(v);
  v("iterations", iterations, "Sets how often rows and columns are divided by their sums.", between(1, 1000));
  v("eps", eps, "Is added under the root of the norm, and in all forms but mhc to weights and their sums too.",
    between(0, 0.1));
}

Manifold::Manifold(const ManifoldOptions& o, const LayerArgs& args, const Scope& s, Form form)
    : Streams(o, args, s),
      form_(form),
      eps_(o.eps),
      sinkhorn_{.iterations = o.iterations,
                .start = form == Form::paper      ? SinkhornStart::exp
                         : form == Form::released ? SinkhornStart::softmax
                                                  : SinkhornStart::sigmoid,
                .eps = o.eps} {
  connect(kMixer, args, s / "mixer_connection");
  if (o.ffn) connect(kFfn, args, s / "ffn_connection");
  if (of_paper()) return;
  const int64_t n = o.streams;
  try {
    head_ = {.weight = &s.shared("streams_head.weight", {n, n * args.d_model}, Init::normal(0.02),
                                 {.role = Role::hidden, .matrices = {n}}),
             .bias = &s.shared("streams_head.bias", {n}, Init::zeros(), {.decay = false}),
             .scale = &s.shared("streams_head.scale", {1}, Init::ones(), {.decay = false})};
  } catch (const ShapeError&) {
    throw_at(o.mark, "the layers of a model share what ends their streams: give all of them as many");
  }
}

void Manifold::connect(Part part, const LayerArgs& args, const Scope& s) {
  const int64_t n = streams(), first = first_of(args, part, n), count = n * (n + 2);
  const auto start = [n, first, none = !of_paper()](double, int64_t, int64_t k) {
    if (none || (k >= n && k < 2 * n)) return 0.0;
    if (k < n) return k == first ? 1.0 : -1.0;
    return (k - 2 * n) / n == (k - 2 * n) % n ? 0.0 : kApart;
  };
  connections_[part] = {
      .weight = &s.param("weight", {count, n * args.d_model}, of_paper() ? Init::zeros() : Init::normal(0.02),
                         {.role = of_paper() ? Role::own : Role::hidden, .matrices = {n, n, n * n}}),
      .bias = &s.param("bias", {count}, Init::mapped(start), {.decay = false}),
      .scale = &s.param("scale", {3}, Init::constant(of_paper() ? kScale : 1), {.decay = false})};
}

Tensor Manifold::connected(const Tensor& h, Part part, const Branch& branch) const {
  const Connection& c = connections_[part];
  const int64_t n = streams();
  const std::vector<int64_t> widths = {n, n, n * n};
  const auto parts = split_columns(linear(normed(h), c.weight->value), widths),
             scales = split_columns(c.scale->value, {1, 1, 1}), biases = split_columns(c.bias->value, widths);
  const auto raw = [&](size_t i) { return affine_columns(scale_by(parts[i], scales[i]), {}, biases[i]); };
  const Tensor written = sigmoid(raw(1));
  const Tensor pre = above_zero(sigmoid(raw(0))),
               post = form_ == Form::library ? above_zero(written) : scale(written, 2),
               res = sinkhorn(raw(2), n, sinkhorn_);
  const MixOrder order = form_ == Form::released ? MixOrder::by_source : MixOrder::by_result;
  const Tensor f = branch(mix_streams(h, pre, n));
  return mix_streams(f, post, 1, MixOrder::by_result, mix_streams(h, res, n, order));
}

Tensor Manifold::collapsed(const Tensor& h) const {
  if (of_paper()) return Streams::collapsed(h);
  const Tensor raw = scale_by(linear(normed(h), head_.weight->value), head_.scale->value);
  return mix_streams(h, above_zero(sigmoid(affine_columns(raw, {}, head_.bias->value))), streams());
}

Tensor Manifold::normed(const Tensor& h) const { return rms_norm(h, h.cols(), eps_); }

Tensor Manifold::above_zero(const Tensor& weights) const {
  if (of_paper()) return weights;
  return affine_columns(weights, {}, Tensor::full({weights.cols()}, weights.dtype(), eps_));
}

}  // namespace effllm
