#include "support/tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/random.h"

namespace effllm::test {

Tensor random(const Shape& s, uint64_t seed, DType t, double scale) {
  const RandomStream numbers(seed, "test");
  Tensor x = Tensor::empty(s, t);
  for (int64_t r = 0; r < s.rows(); ++r)
    for (int64_t c = 0; c < s.cols(); ++c)
      put(x, r, c, scale * numbers.normal(static_cast<uint64_t>(r * s.cols() + c)));
  return x;
}

Tensor integers(const Shape& s, const std::vector<int64_t>& values) {
  const Tensor t = Tensor::dense(s, DType::i64);
  std::copy(values.begin(), values.end(), t.data<int64_t>());
  return t;
}

Tensor ids_of(const Tensor& x) {
  const Tensor ids = Tensor::dense({x.dim(0), x.dim(1)}, DType::i32);
  if (ids.is_meta()) return ids;
  for (int64_t r = 0; r < ids.numel(); ++r)
    ids.data<int32_t>()[r] = static_cast<int32_t>(std::fmod(std::abs(std::floor(4 * at(x, r, 0))), 11));
  return ids;
}

double at(const Tensor& t, int64_t row, int64_t col) {
  switch (t.dtype()) {
    case DType::f32:
      return static_cast<double>(t.view<float>().row(row)[col]);
    case DType::f64:
      return t.view<double>().row(row)[col];
    case DType::i32:
      return t.view<int32_t>().row(row)[col];
    case DType::i64:
      return static_cast<double>(t.view<int64_t>().row(row)[col]);
  }
  return 0;
}

void put(const Tensor& t, int64_t row, int64_t col, double v) {
  switch (t.dtype()) {
    case DType::f32:
      t.view<float>().row(row)[col] = static_cast<float>(v);
      break;
    case DType::f64:
      t.view<double>().row(row)[col] = v;
      break;
    case DType::i32:
      t.view<int32_t>().row(row)[col] = static_cast<int32_t>(v);
      break;
    case DType::i64:
      t.view<int64_t>().row(row)[col] = static_cast<int64_t>(v);
      break;
  }
}

double max_diff(const Tensor& a, const Tensor& b) {
  require(a.shape() == b.shape(), "compared {} with {}", a.shape().str(), b.shape().str());
  double worst = 0;
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t c = 0; c < a.cols(); ++c) {
      const double d = std::abs(at(a, r, c) - at(b, r, c));
      if (std::isnan(d)) return std::numeric_limits<double>::infinity();
      worst = std::max(worst, d);
    }
  return worst;
}

double max_abs(const Tensor& a) {
  double worst = 0;
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t c = 0; c < a.cols(); ++c) worst = std::max(worst, std::abs(at(a, r, c)));
  return worst;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  const size_t size = size_of(a.dtype());
  for (int64_t r = 0; r < a.rows(); ++r)
    if (std::memcmp(a.raw() + static_cast<size_t>(r * a.stride()) * size,
                    b.raw() + static_cast<size_t>(r * b.stride()) * size, static_cast<size_t>(a.cols()) * size) != 0)
      return false;
  return true;
}

double dot(const Tensor& a, const Tensor& b) {
  double s = 0;
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t c = 0; c < a.cols(); ++c) s += at(a, r, c) * at(b, r, c);
  return s;
}

Tensor to_dtype(const Tensor& t, DType type) {
  Tensor x = Tensor::empty(t.shape(), type);
  for (int64_t r = 0; r < t.rows(); ++r)
    for (int64_t c = 0; c < t.cols(); ++c) put(x, r, c, at(t, r, c));
  return x;
}

int64_t document_of(const Tensor& segments, int64_t b, int64_t t) {
  return segments.defined() && t >= 0 ? segments.view<int64_t>().row(b)[t] : 0;
}

Tensor mapped(const Tensor& x, const std::function<double(double)>& f) {
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c) put(x, r, c, f(at(x, r, c)));
  return x;
}

Tensor segments_of_call(const Tensor& segments, int64_t from, int64_t to) {
  if (!segments.defined()) return {};
  const Tensor part = Tensor::zeros({segments.dim(0), to - from}, DType::i64);
  for (int64_t b = 0; b < part.dim(0); ++b)
    for (int64_t t = from; t < to; ++t)
      put(part, b, t - from, at(segments, b, t) - (from > 0 ? at(segments, b, from - 1) : 0));
  return part;
}

Tensor tokens(const Tensor& x, int64_t from, int64_t to) {
  if (!x.defined()) return {};
  Tensor y = Tensor::empty(x.shape().with(1, to - from), x.dtype());
  for (int64_t b = 0; b < x.dim(0); ++b)
    for (int64_t t = from; t < to; ++t)
      for (int64_t c = 0; c < x.cols(); ++c) put(y, b * (to - from) + t - from, c, at(x, b * x.dim(1) + t, c));
  return y;
}

double gradient_error(const Function& f, const Tensors& inputs, uint64_t seed, double h) {
  const auto tracked = [](const Tensor& t) { return t.defined() && is_float(t.dtype()); };
  Tensors x;
  for (const Tensor& t : inputs) x.push_back(tracked(t) ? t.clone() : t);
  Tensors w;
  Tape tape;
  Tensors leaves;
  {
    Tape::Recording recording(tape);
    for (const Tensor& t : x) leaves.push_back(tracked(t) ? tape.leaf(t) : t);
    const Tensors y = f(leaves);
    std::vector<Tape::Seed> seeds;
    for (size_t i = 0; i < y.size(); ++i) {
      w.push_back(random(y[i].shape(), seed * 1000 + i));
      seeds.push_back({y[i], w.back()});
    }
    tape.backward(seeds);
  }
  const auto value = [&] {
    const Tensors y = f(x);
    double s = 0;
    for (size_t i = 0; i < y.size(); ++i) s += dot(y[i], w[i]);
    return s;
  };
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (!tracked(x[i])) continue;
    const Tensor g = tape.grad(leaves[i]);
    double largest = 1, difference = 0;
    for (int64_t r = 0; r < x[i].rows(); ++r)
      for (int64_t c = 0; c < x[i].cols(); ++c) {
        const double v = at(x[i], r, c);
        put(x[i], r, c, v + h);
        const double up = value();
        put(x[i], r, c, v - h);
        const double numeric = (up - value()) / (2 * h);
        put(x[i], r, c, v);
        const double analytic = g.defined() ? at(g, r, c) : 0;
        largest = std::max(largest, std::abs(numeric));
        const double d = std::abs(analytic - numeric);
        difference = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(difference, d);
      }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

}  // namespace effllm::test
