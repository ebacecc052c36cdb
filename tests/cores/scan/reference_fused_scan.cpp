#include "cores/scan/reference_fused_scan.h"

#include <cmath>

#include "cores/common/segments.h"

namespace effllm {
namespace {

double s(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

ScanResult reference_fused_scan(ScanForm form, const Tensor& x0, const Tensor& x1, const Tensor& x2, const Tensor& row,
                                const Tensor& h0, const Tensor& segments) {
  const int64_t batch = x0.dim(0), tokens = x0.dim(1), columns = x0.cols();
  const Tensor h = Tensor::empty(x0.shape(), DType::f64), last = Tensor::empty({batch, columns}, DType::f64);
  const DocumentStarts starts(segments);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t c = 0; c < columns; ++c) {
      double state = h0.defined() ? h0.view<double>().row(b)[c] : 0;
      for (int64_t t = 0; t < tokens; ++t) {
        const auto at = [&](const Tensor& x) { return x.view<double>().row(b * tokens + t)[c]; };
        const bool first = (t == 0 && !h0.defined()) || (starts.row(b) && starts.row(b)[t]);
        double a = 0, in = 0;
        switch (form) {
          case ScanForm::min_lstm:
          case ScanForm::min_lstm_g: {
            const double u = at(x2), g = form == ScanForm::min_lstm ? u : u >= 0 ? u + 0.5 : s(u);
            a = 1 / (1 + std::exp(std::log1p(std::exp(-at(x0))) - std::log1p(std::exp(-at(x1)))));
            in = (1 - a) * g;
            break;
          }
          case ScanForm::hgrn: {
            const double floor = row.data<double>()[c];
            a = floor + (1 - floor) * s(at(x0));
            in = (1 - a) * at(x1) * s(at(x1));
            break;
          }
          case ScanForm::rg_lru: {
            const double log_a = -8 * row.data<double>()[c] * s(at(x0));
            a = std::exp(log_a);
            in = (first ? 1 : std::sqrt(-std::expm1(2 * log_a))) * s(at(x1)) * at(x2);
            break;
          }
        }
        state = (first ? 0 : a * state) + in;
        h.view<double>().row(b * tokens + t)[c] = state;
      }
      last.view<double>().row(b)[c] = state;
    }
  return {h, last};
}

}  // namespace effllm
