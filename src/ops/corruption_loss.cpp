#include "ops/corruption_loss.h"

#include <cmath>
#include <vector>

#include "ops/rows.h"

namespace effllm {
namespace {

struct Term {
  double keep, noise, weight;
};

class CorruptionLossOp final : public Op {
 public:
  std::string_view name() const override { return "corruption_loss"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const int64_t rows = in[0].rows();
    const auto ids = [&](const Tensor& t) { return t.dtype() == DType::i32 && t.numel() == rows && t.is_dense(); };
    require(is_float(in[0].dtype()) && ids(in[1]) && ids(in[2]) && in[3].dtype() == DType::f64 &&
                in[3].shape() == Shape{rows, 3} && in[3].is_dense(),
            "corruption_loss: logits{}, tokens{}, seen{} and terms{} don't fit", in[0].shape().str(),
            in[1].shape().str(), in[2].shape().str(), in[3].shape().str());
    return Outputs({{{1}, DType::f64}, {in[0].shape(), in[0].dtype()}}, 1);
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {40 * n, n, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.outputs = 2}; }
  void forward(Forward& c) override {
    const int32_t *tokens = c.in(1).data<int32_t>(), *seen = c.in(2).data<int32_t>();
    const double* terms = c.in(3).data<double>();
    for (int64_t r = 0; r < c.in(0).rows(); ++r)
      if (tokens[r] >= c.in(0).cols()) throw DataError("token {} is not among {} logits", tokens[r], c.in(0).cols());
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> z = c.in(0).view<T>();
      const View<T> d = c.recording() ? c.out(1).view<T>() : View<T>{};
      std::vector<double> partial(static_cast<size_t>((z.rows + kRowBlock - 1) / kRowBlock));
      for_row_blocks(z.rows, [&](int64_t from, int64_t n) {
        std::vector<double> s(static_cast<size_t>(z.cols));
        double& sum = partial[static_cast<size_t>(from / kRowBlock)];
        for (int64_t r = from; r < from + n; ++r) {
          if (d) std::fill_n(d.row(r), d.cols, T(0));
          if (tokens[r] < 0) continue;
          softmax<T>(z.row(r), s);
          sum += row({terms[3 * r], terms[3 * r + 1], terms[3 * r + 2]}, tokens[r], seen[r], s, d ? d.row(r) : nullptr);
        }
      });
      double total = 0;
      for (const double p : partial) total += p;
      *c.out(0).data<double>() = total;
    });
  }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink to = c.sink(0);
    const double g = *c.grad(0).data<double>();
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> d = c.out(1).view<T>();
      const View<T> x = to.into.view<T>();
      for (int64_t r = 0; r < d.rows; ++r)
        for (int64_t i = 0; i < d.cols; ++i) {
          const T own = static_cast<T>(g * static_cast<double>(d.row(r)[i]));
          x.row(r)[i] = to.accumulate ? x.row(r)[i] + own : own;
        }
    });
  }

 private:
  template <class T>
  static void softmax(const T* z, std::vector<double>& s) {
    double top = static_cast<double>(z[0]), sum = 0;
    for (size_t i = 0; i < s.size(); ++i) top = std::max(top, static_cast<double>(z[i]));
    for (size_t i = 0; i < s.size(); ++i) sum += s[i] = std::exp(static_cast<double>(z[i]) - top);
    for (double& p : s) p /= sum;
  }

  // The loss of a row, and where d is given its derivatives by the logits: s_k (g_k - sum_j g_j s_j) with g_j =
  // dL/ds_j.
  template <class T>
  static double row(const Term& t, int32_t x, int32_t z, const std::vector<double>& s, T* d) {
    double kl = 0, dot = 0;
    const auto at = [&](size_t j) { return t.keep * s[j] + t.noise; };
    const auto own = static_cast<size_t>(x), there = static_cast<size_t>(z);
    const double q = t.keep + t.noise;
    for (size_t j = 0; j < s.size(); ++j)
      if (j != own && t.noise > 0) kl -= t.noise * std::log1p(t.keep * s[j] / t.noise);
    kl += q * std::log1p(t.keep * (1 - s[own]) / at(own));
    const bool token = there < s.size();
    const double before = token ? (there == own ? q : t.noise) : 1, ratio = token ? before / at(there) : 1;
    const double excess = token ? (before - at(there)) / at(there) : 0;  // r - 1
    const double loss = t.weight * (kl + excess - std::log1p(excess));
    if (!d) return loss;
    const auto slope = [&](size_t j) {
      double g = -(j == own ? q : t.noise) * t.keep / at(j);
      if (token && j == there) g += t.keep / at(j) * (1 - ratio);
      return g;
    };
    for (size_t j = 0; j < s.size(); ++j) dot += slope(j) * s[j];
    for (size_t j = 0; j < s.size(); ++j) d[j] = static_cast<T>(t.weight * s[j] * (slope(j) - dot));
    return loss;
  }
};

}  // namespace

Tensor corruption_loss(const Tensor& logits, const Tensor& tokens, const Tensor& seen, const Tensor& terms) {
  return run(std::make_unique<CorruptionLossOp>(), {logits, tokens, seen, terms});
}

}  // namespace effllm
