#include "cores/scan/reference_selective_scan.h"

#include <cmath>

#include "support/tensors.h"

namespace effllm {

using test::at;

SelectiveScanResult reference_selective_scan(const SelectiveScanInputs& in) {
  const int64_t batch = in.x.dim(0), tokens = in.x.dim(1), columns = in.x.cols(), states = in.b.cols();
  const Tensor y = Tensor::zeros(in.x.shape(), DType::f64), last = Tensor::empty({batch, states, columns}, DType::f64);
  const Tensor skip = in.skip.defined() ? in.skip.reshape({1, columns}) : Tensor();
  for (int64_t s = 0; s < batch; ++s)
    for (int64_t k = 0; k < columns; ++k)
      for (int64_t n = 0; n < states; ++n) {
        double h = in.state0.defined() ? at(in.state0, s * states + n, k) : 0;
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t row = s * tokens + t;
          if (test::starts(in.segments, s, t)) h = 0;
          const double delta = at(in.delta, row, k), x = at(in.x, row, k);
          h = std::exp(-delta * std::exp(at(in.a_log, k, n))) * h + delta * x * at(in.b, row, n);
          double& out = y.view<double>().row(row)[k];
          out += at(in.c, row, n) * h + (n == 0 && skip.defined() ? at(skip, 0, k) * x : 0);
        }
        last.view<double>().row(s * states + n)[k] = h;
      }
  return {y, last};
}

}  // namespace effllm
