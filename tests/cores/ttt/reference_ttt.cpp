#include "cores/ttt/reference_ttt.h"

#include <cmath>
#include <vector>

#include "support/tensors.h"

namespace effllm {
namespace {

using test::at;
using Vector = std::vector<double>;

double mean(const Vector& x) {
  double sum = 0;
  for (double e : x) sum += e;
  return sum / static_cast<double>(x.size());
}

// A linear model: w [n][n] and b [n], in one vector of n + 1 rows, of which the last is b.
struct Linear {
  size_t n;
  Vector rows;
  explicit Linear(size_t width) : n(width), rows((width + 1) * width, 0.0) {}
  double& operator()(size_t i, size_t j) { return rows[i * n + j]; }
  Vector apply(const Vector& x) const {
    Vector y(rows.end() - static_cast<std::ptrdiff_t>(n), rows.end());
    for (size_t i = 0; i < n; ++i)
      for (size_t j = 0; j < n; ++j) y[j] += x[i] * rows[i * n + j];
    return y;
  }
};

struct LayerNorm {
  Vector weight, bias;
  double eps;
  // Normalised x, and 1 / standard deviation.
  std::pair<Vector, double> normal(const Vector& x) const {
    const double m = mean(x);
    double var = 0;
    for (double e : x) var += (e - m) * (e - m);
    const double r = 1 / std::sqrt(var / static_cast<double>(x.size()) + eps);
    Vector h(x);
    for (double& e : h) e = (e - m) * r;
    return {h, r};
  }
  Vector operator()(const Vector& x) const {
    Vector h = normal(x).first;
    for (size_t i = 0; i < h.size(); ++i) h[i] = h[i] * weight[i] + bias[i];
    return h;
  }
  // d/dz of 1/2 |LN(z) - target|^2.
  Vector loss_gradient(const Vector& z, const Vector& target) const {
    const auto [h, r] = normal(z);
    Vector g(z.size()), gh(z.size());
    for (size_t i = 0; i < z.size(); ++i) {
      g[i] = weight[i] * (weight[i] * h[i] + bias[i] - target[i]);
      gh[i] = g[i] * h[i];
    }
    const double m = mean(g), mh = mean(gh);
    for (size_t i = 0; i < z.size(); ++i) g[i] = r * (g[i] - m - h[i] * mh);
    return g;
  }
};

class Head {
 public:
  Head(int64_t b, int64_t h, int64_t heads, int64_t n)
      : b_(b), h_(h), heads_(heads), n_(n), start_(static_cast<size_t>(n)), sum_(static_cast<size_t>(n)) {}

  void run(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& eta, const TttModel& model,
           const TttState& before, const Tensor& positions, double eps, const TttResult& result) {
    const int64_t tokens = q.dim(1), size = model.token_scale.numel();
    const LayerNorm norm{columns(model.weight, 0), columns(model.bias, 0), eps};
    if (before.w.defined()) {
      load(before.w, b_ * heads_ + h_, before.b, b_, start_);
      load(before.sum_w, b_ * heads_ + h_, before.sum_b, b_, sum_);
    }
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t row = b_ * tokens + t, position = positions.defined() ? positions.view<int64_t>().row(b_)[t] : t,
                    place = position % size;
      if (position == 0 || (t == 0 && !before.w.defined())) {
        load(model.w0, h_, model.b0, 0, start_);
        sum_.rows.assign(sum_.rows.size(), 0.0);
      } else if (place == 0) {
        sum_.rows.assign(sum_.rows.size(), 0.0);
      }
      const Vector query = columns(q, row), key = columns(k, row);
      Vector target = columns(v, row);
      for (size_t i = 0; i < key.size(); ++i) target[i] -= key[i];
      const Vector g = norm.loss_gradient(start_.apply(key), target);
      for (size_t j = 0; j < key.size(); ++j) {
        for (size_t i = 0; i < key.size(); ++i) sum_(i, j) += at(eta, row, h_) * key[i] * g[j];
        sum_(key.size(), j) += at(eta, row, h_) * g[j];
      }
      Linear now = start_;
      for (size_t i = 0; i < now.rows.size(); ++i) now.rows[i] -= at(model.token_scale, 0, place) * sum_.rows[i];
      const Vector y = norm(now.apply(query));
      for (int64_t j = 0; j < n_; ++j)
        result.o.view<double>().row(row)[h_ * n_ + j] = query[static_cast<size_t>(j)] + y[static_cast<size_t>(j)];
      if (place + 1 < size) continue;
      start_ = now;
      sum_.rows.assign(sum_.rows.size(), 0.0);
    }
    store(start_, result.state.w, result.state.b);
    store(sum_, result.state.sum_w, result.state.sum_b);
  }

 private:
  Vector columns(const Tensor& x, int64_t row) const {
    Vector y(static_cast<size_t>(n_));
    for (int64_t j = 0; j < n_; ++j) y[static_cast<size_t>(j)] = at(x, row, h_ * n_ + j);
    return y;
  }
  void load(const Tensor& w, int64_t item, const Tensor& b, int64_t row, Linear& to) const {
    for (int64_t i = 0; i <= n_; ++i)
      for (int64_t j = 0; j < n_; ++j)
        to(static_cast<size_t>(i), static_cast<size_t>(j)) = i < n_ ? at(w, item * n_ + i, j) : at(b, row, h_ * n_ + j);
  }
  void store(Linear& from, const Tensor& w, const Tensor& b) const {
    for (int64_t i = 0; i <= n_; ++i)
      for (int64_t j = 0; j < n_; ++j) {
        const double e = from(static_cast<size_t>(i), static_cast<size_t>(j));
        (i < n_ ? w.view<double>().row((b_ * heads_ + h_) * n_ + i)[j] : b.view<double>().row(b_)[h_ * n_ + j]) = e;
      }
  }

  int64_t b_, h_, heads_, n_;
  Linear start_, sum_;
};

}  // namespace

TttResult reference_ttt(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& eta, const TttModel& model,
                        const TttState& before, const Tensor& positions, const TttOptions& options) {
  const int64_t batch = q.dim(0), heads = options.heads, n = q.cols() / heads;
  const auto make = [](const Shape& s) { return Tensor::empty(s, DType::f64); };
  const TttResult result{
      make(q.shape()),
      {make({batch, heads, n, n}), make({batch, heads * n}), make({batch, heads, n, n}), make({batch, heads * n})}};
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t h = 0; h < heads; ++h)
      Head(b, h, heads, n).run(q, k, v, eta, model, before, positions, options.eps, result);
  return result;
}

}  // namespace effllm
