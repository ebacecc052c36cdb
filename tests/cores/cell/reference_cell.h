// LSTM and GRU as plain loops over tokens in f64, from their equations in cell.h: what tests compare the fast forms
// with. Inputs of either float type; results are f64, and no gradients are recorded.
#pragma once
#include <cmath>
#include <vector>

#include "cores/cell/cell.h"
#include "support/tensors.h"

namespace effllm::test {

using Vector = std::vector<double>;

inline Vector row_of(const Tensor& t, int64_t row, int64_t width) {
  Vector x(static_cast<size_t>(width), 0);
  for (int64_t c = 0; t.defined() && c < width; ++c) x[static_cast<size_t>(c)] = at(t, row, c);
  return x;
}
inline void put_row(const Vector& x, const Tensor& t, int64_t row) {
  std::copy(x.begin(), x.end(), t.view<double>().row(row));
}

// Row r of R times h.
inline double product(const Tensor& recurrent, int64_t r, const Vector& h) {
  double sum = 0;
  for (size_t c = 0; c < h.size(); ++c) sum += at(recurrent, r, static_cast<int64_t>(c)) * h[c];
  return sum;
}
inline double logistic(double x) { return 1 / (1 + std::exp(-x)); }

inline LstmResult reference_lstm(const Tensor& gates, const Tensor& recurrent, const Tensor& h0, const Tensor& c0,
                                 const Tensor& segments) {
  const int64_t batch = gates.dim(0), tokens = gates.dim(1), width = recurrent.cols();
  const LstmResult out{Tensor::empty({batch, tokens, width}, DType::f64), Tensor::empty({batch, width}, DType::f64),
                       Tensor::empty({batch, width}, DType::f64)};
  for (int64_t b = 0; b < batch; ++b) {
    Vector h = row_of(h0, b, width), cell = row_of(c0, b, width);
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t row = b * tokens + t;
      if (starts(segments, b, t)) h.assign(h.size(), 0), cell.assign(cell.size(), 0);
      const Vector before = h;
      for (int64_t c = 0; c < width; ++c) {
        const auto sum = [&](int64_t r) { return at(gates, row, r) + product(recurrent, r, before); };
        double& state = cell[static_cast<size_t>(c)];
        state = logistic(sum(width + c)) * state + logistic(sum(c)) * std::tanh(sum(2 * width + c));
        h[static_cast<size_t>(c)] = logistic(sum(3 * width + c)) * std::tanh(state);
      }
      put_row(h, out.h, row);
    }
    put_row(h, out.last_h, b);
    put_row(cell, out.last_c, b);
  }
  return out;
}

inline GruResult reference_gru(const Tensor& in, const Tensor& recurrent, const Tensor& bias, const Tensor& h0,
                               const Tensor& segments) {
  const int64_t batch = in.dim(0), tokens = in.dim(1), width = recurrent.cols();
  const GruResult out{Tensor::empty({batch, tokens, width}, DType::f64), Tensor::empty({batch, width}, DType::f64)};
  for (int64_t b = 0; b < batch; ++b) {
    Vector h = row_of(h0, b, width);
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t row = b * tokens + t;
      if (starts(segments, b, t)) h.assign(h.size(), 0);
      const Vector before = h;
      for (int64_t c = 0; c < width; ++c) {
        const int64_t z_row = width + c, n_row = 2 * width + c;
        const double r = logistic(at(in, row, c) + product(recurrent, c, before));
        const double z = logistic(at(in, row, z_row) + product(recurrent, z_row, before));
        const double n = std::tanh(at(in, row, n_row) + r * (product(recurrent, n_row, before) + at(bias, 0, c)));
        h[static_cast<size_t>(c)] = (1 - z) * n + z * before[static_cast<size_t>(c)];
      }
      put_row(h, out.h, row);
    }
    put_row(h, out.last, b);
  }
  return out;
}

}  // namespace effllm::test
