#include "cores/delta/reference_delta.h"

#include <cmath>
#include <vector>

#include "support/tensors.h"

namespace effllm {

using test::at;

DeltaResult reference_delta(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& beta,
                            const Tensor& log_decay, const Tensor& state0, const Tensor& segments,
                            const DeltaOptions& options) {
  const int64_t batch = q.dim(0), tokens = q.dim(1), heads = options.heads, dk = q.cols() / heads,
                dv = v.cols() / heads;
  const Tensor o = Tensor::zeros(v.shape(), DType::f64), state = Tensor::dense({batch, heads, dk, dv}, DType::f64);
  std::vector<double> s(static_cast<size_t>(dk));  // one column of S
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t j = 0; j < dv; ++j) {
        const int64_t first = (b * heads + h) * dk;
        for (int64_t i = 0; i < dk; ++i) s[static_cast<size_t>(i)] = state0.defined() ? at(state0, first + i, j) : 0;
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t row = b * tokens + t;
          const double a = test::starts(segments, b, t) ? 0 : log_decay.defined() ? std::exp(at(log_decay, row, h)) : 1;
          double error = at(v, row, h * dv + j), read = 0;
          for (int64_t i = 0; i < dk; ++i) {
            s[static_cast<size_t>(i)] *= a;
            error -= at(k, row, h * dk + i) * s[static_cast<size_t>(i)];
          }
          for (int64_t i = 0; i < dk; ++i) {
            s[static_cast<size_t>(i)] += at(beta, row, h) * at(k, row, h * dk + i) * error;
            read += at(q, row, h * dk + i) * s[static_cast<size_t>(i)];
          }
          o.view<double>().row(row)[h * dv + j] = read;
        }
        for (int64_t i = 0; i < dk; ++i) state.view<double>().row(first + i)[j] = s[static_cast<size_t>(i)];
      }
  return {o, state};
}

}  // namespace effllm
