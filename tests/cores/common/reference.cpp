#include "cores/common/reference.h"

#include <cmath>
#include <vector>

#include "support/tensors.h"

namespace effllm {
namespace {

using test::at;
using test::document_of;
using test::starts;
double& set(const Tensor& t, int64_t row, int64_t col) { return t.view<double>().row(row)[col]; }

}  // namespace

GlaResult reference_gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay,
                        const Tensor& state0, const Tensor& segments, const GlaOptions& options) {
  const int64_t batch = q.dim(0), tokens = q.dim(1), heads = options.heads,
                key_heads = options.key_heads > 0 ? options.key_heads : heads, dk = q.cols() / key_heads,
                dv = v.cols() / heads;
  const bool constant = log_decay.defined() && log_decay.shape().rank() == 1;
  const Tensor o = Tensor::zeros(v.shape(), DType::f64), state = Tensor::dense({batch, heads, dk, dv}, DType::f64);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t i = 0; i < dk; ++i)
        for (int64_t j = 0; j < dv; ++j) {
          const int64_t s_row = (b * heads + h) * dk + i;
          double s = state0.defined() ? at(state0, s_row, j) : 0;
          for (int64_t t = 0; t < tokens; ++t) {
            const int64_t row = b * tokens + t;
            if (starts(segments, b, t)) s = 0;
            double& y = set(o, row, h * dv + j);
            const int64_t key = h / (heads / key_heads) * dk + i;
            const double read = at(q, row, key);
            if (options.exclusive) y += read * s;
            if (options.decay == Decay::scalar) s *= std::exp(at(log_decay, constant ? 0 : row, h));
            if (options.decay == Decay::key) s *= std::exp(at(log_decay, row, h * dk + i));
            s += at(k, row, key) * at(v, row, h * dv + j);
            if (!options.exclusive) y += read * s;
          }
          set(state, s_row, j) = s;
        }
  return {o, state};
}

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
          const double a = starts(segments, b, t) ? 0 : log_decay.defined() ? std::exp(at(log_decay, row, h)) : 1;
          double error = at(v, row, h * dv + j), read = 0;
          for (int64_t i = 0; i < dk; ++i) {
            s[static_cast<size_t>(i)] *= a;
            error -= at(k, row, h * dk + i) * s[static_cast<size_t>(i)];
          }
          for (int64_t i = 0; i < dk; ++i) {
            s[static_cast<size_t>(i)] += at(beta, row, h) * at(k, row, h * dk + i) * error;
            read += at(q, row, h * dk + i) * s[static_cast<size_t>(i)];
          }
          set(o, row, h * dv + j) = read;
        }
        for (int64_t i = 0; i < dk; ++i) set(state, first + i, j) = s[static_cast<size_t>(i)];
      }
  return {o, state};
}

ShortConvResult reference_short_conv(const Tensor& x, const Tensor& weight, const Tensor& history,
                                     const Tensor& segments) {
  const int64_t batch = x.dim(0), tokens = x.dim(1), columns = x.cols(), width = weight.dim(0);
  const Tensor y = Tensor::zeros(x.shape(), DType::f64), after = Tensor::empty({batch, width - 1, columns}, DType::f64);
  for (int64_t b = 0; b < batch; ++b) {
    // The input of token s as token t sees it: nothing of other documents.
    const auto seen = [&](int64_t s, int64_t t, int64_t c) {
      if (document_of(segments, b, s) != document_of(segments, b, t)) return 0.0;
      if (s >= 0) return at(x, b * tokens + s, c);
      return history.defined() ? at(history, b * (width - 1) + width - 1 + s, c) : 0.0;
    };
    for (int64_t c = 0; c < columns; ++c) {
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t j = 0; j < width; ++j)
          set(y, b * tokens + t, c) += at(weight, j, c) * seen(t - (width - 1) + j, t, c);
      for (int64_t r = 0; r < width - 1; ++r)
        set(after, b * (width - 1) + r, c) = seen(tokens - (width - 1) + r, tokens - 1, c);
    }
  }
  return {y, after};
}

}  // namespace effllm
