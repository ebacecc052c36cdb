#include "cores/attention/reference_groups.h"

#include <cmath>

namespace effllm {
namespace {

double function_of(Pointwise f, double x) {
  switch (f) {
    case Pointwise::relu2:
      return x > 0 ? x * x : 0;
    case Pointwise::laplace:  // mean sqrt(1/2), deviation 1 / sqrt(4 pi)
      return 0.5 * (1 + std::erf((x - std::sqrt(0.5)) / std::sqrt(1 / (4 * M_PI)) / std::sqrt(2)));
    case Pointwise::sigmoid:
      return 1 / (1 + std::exp(-x));
    default:
      throw ShapeError("reference_score_attention: no such score");
  }
}

double dot(const double* a, const double* b, int64_t n) {
  double s = 0;
  for (int64_t i = 0; i < n; ++i) s += a[i] * b[i];
  return s;
}

}  // namespace

Tensor reference_score_attention(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& bias,
                                 const ScoreAttentionOptions& o) {
  const Tensor out = Tensor::zeros(v.shape(), DType::f64);
  const int64_t tokens = q.dim(1);
  for (int64_t b = 0; b < q.dim(0); ++b)
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t s = t - t % o.group; s <= t; ++s) {
        double score = dot(q.view<double>().row(b * tokens + t), k.view<double>().row(b * tokens + s), q.cols());
        const int64_t at = o.bias_at.empty() ? t - s : o.bias_at[static_cast<size_t>(t - s)];
        if (bias.defined()) score += o.bias_scale * bias.data<double>()[at];
        const double weight = function_of(o.score, score);
        for (int64_t c = 0; c < v.cols(); ++c)
          out.view<double>().row(b * tokens + t)[c] += weight * v.view<double>().row(b * tokens + s)[c];
      }
  return out;
}

Tensor reference_group_memory(const Tensor& q, const Tensor& k, const Tensor& v, int64_t group) {
  const Tensor out = Tensor::zeros(v.shape(), DType::f64);
  const int64_t tokens = q.dim(1);
  for (int64_t b = 0; b < q.dim(0); ++b)
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t end = t / group * group;
      for (int64_t s = 0; s < end; ++s) {
        const double weight = dot(q.view<double>().row(b * tokens + t), k.view<double>().row(b * tokens + s), q.cols());
        for (int64_t c = 0; c < v.cols(); ++c)
          out.view<double>().row(b * tokens + t)[c] += weight * v.view<double>().row(b * tokens + s)[c];
      }
    }
  return out;
}

}  // namespace effllm
