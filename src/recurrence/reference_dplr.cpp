#include "recurrence/reference_dplr.h"

#include <cmath>
#include <vector>

namespace effllm {
namespace {

double at(const Tensor& t, int64_t row, int64_t col) {
  return dispatch_float(t.dtype(), [&]<class T>() { return static_cast<double>(t.view<T>().row(row)[col]); });
}

int64_t document(const Tensor& segments, int64_t b, int64_t t) {
  return segments.defined() && t >= 0 ? segments.view<int64_t>().row(b)[t] : 0;
}

}  // namespace

DplrResult reference_dplr(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& a, const Tensor& b,
                          const Tensor& log_decay, const Tensor& state0, const Tensor& segments,
                          const DplrOptions& options) {
  const int64_t batch = q.dim(0), tokens = q.dim(1), heads = options.heads, dk = q.cols() / heads,
                dv = v.cols() / heads;
  const Tensor o = Tensor::zeros(v.shape(), DType::f64), state = Tensor::dense({batch, heads, dk, dv}, DType::f64);
  std::vector<double> s(static_cast<size_t>(dk));  // one column of S
  for (int64_t n = 0; n < batch; ++n)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t j = 0; j < dv; ++j) {
        const int64_t first = (n * heads + h) * dk, column = h * dk;
        for (int64_t i = 0; i < dk; ++i) s[static_cast<size_t>(i)] = state0.defined() ? at(state0, first + i, j) : 0;
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t row = n * tokens + t;
          if (document(segments, n, t) != document(segments, n, t - 1)) std::fill(s.begin(), s.end(), 0.0);
          double held = 0, read = 0;
          for (int64_t i = 0; i < dk; ++i) held += at(a, row, column + i) * s[static_cast<size_t>(i)];
          for (int64_t i = 0; i < dk; ++i) {
            double& x = s[static_cast<size_t>(i)];
            if (options.decay == Decay::scalar) x *= std::exp(at(log_decay, row, h));
            if (options.decay == Decay::key) x *= std::exp(at(log_decay, row, column + i));
            x += at(b, row, column + i) * held + at(k, row, column + i) * at(v, row, h * dv + j);
            read += at(q, row, column + i) * x;
          }
          o.view<double>().row(row)[h * dv + j] = read;
        }
        for (int64_t i = 0; i < dk; ++i) state.view<double>().row(first + i)[j] = s[static_cast<size_t>(i)];
      }
  return {o, state};
}

}  // namespace effllm
