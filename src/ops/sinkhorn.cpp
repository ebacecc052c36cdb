#include "ops/sinkhorn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "ops/rows.h"

namespace effllm {
namespace {

constexpr int64_t kLanes = 16;  // matrices side by side

// The iterates of kLanes matrices, all of them: number e of matrix l at [e][l].
template <class T>
class Iterates {
 public:
  Iterates(int64_t n, const SinkhornOptions& o) : n_(n), o_(o) {
    for (int64_t i = 0; i < o.iterations; ++i) {
      if (sigmoid() || (softmax() && i > 0)) rows_.push_back(1);
      rows_.push_back(0);
      if (o.start == SinkhornStart::exp) rows_.push_back(1);
    }
    all_.resize((rows_.size() + 1) * static_cast<size_t>(size()));
    sums_.resize(rows_.size() * static_cast<size_t>(n_ * kLanes));
    line_.resize(kLanes);
  }

  // Of rows [r, r + count) of x.
  void run(const View<const T>& x, int64_t r, int64_t count) {
    T* m = at(0);
    for (int64_t e = 0; e < n_ * n_; ++e)
      for (int64_t l = 0; l < kLanes; ++l) m[e * kLanes + l] = l < count ? x.row(r + l)[e] : T(0);
    for (int64_t i = 0; sigmoid() && i < size(); ++i) m[i] = T(1) / (T(1) + std::exp(-m[i])) + eps();
    for (int64_t k = 0; !sigmoid() && k < n_; ++k) {
      // The largest of a line at 1: lines may be scaled before they are divided.
      lines(softmax(), k, [&](auto&& each) {
        std::fill(line_.begin(), line_.end(), -std::numeric_limits<T>::infinity());
        each([&](int64_t e, int64_t l) { line_[index(l)] = std::max(line_[index(l)], m[e * kLanes + l]); });
        each([&](int64_t e, int64_t l) { m[e * kLanes + l] = std::exp(m[e * kLanes + l] - line_[index(l)]); });
        if (!softmax()) return;
        std::fill(line_.begin(), line_.end(), T(0));
        each([&](int64_t e, int64_t l) { line_[index(l)] += m[e * kLanes + l]; });
        each([&](int64_t e, int64_t l) { m[e * kLanes + l] = m[e * kLanes + l] / line_[index(l)] + eps(); });
      });
    }
    for (size_t step = 0; step < rows_.size(); ++step) {
      const T* from = at(step);
      T* to = at(step + 1);
      for (int64_t k = 0; k < n_; ++k)
        lines(rows_[step], k, [&](auto&& each) {
          T* sum = sum_at(step, k);
          std::fill_n(sum, kLanes, eps());
          each([&](int64_t e, int64_t l) { sum[l] += from[e * kLanes + l]; });
          each([&](int64_t e, int64_t l) { to[e * kLanes + l] = from[e * kLanes + l] / sum[l]; });
        });
    }
  }
  const T* last() { return at(rows_.size()); }

  // The gradient g [n n][kLanes] of what run() has made becomes that of x.
  void back(T* g) {
    for (size_t step = rows_.size(); step-- > 0;)
      for (int64_t k = 0; k < n_; ++k) projected(rows_[step], k, at(step + 1), T(0), sum_at(step, k), g);
    T* m = at(0);
    if (!softmax())
      for (int64_t i = 0; i < size(); ++i) g[i] *= sigmoid() ? (m[i] - eps()) * (T(1) - (m[i] - eps())) : m[i];
    else
      for (int64_t k = 0; k < n_; ++k) {
        projected(true, k, m, eps(), nullptr, g);
        lines(true, k, [&](auto&& each) {
          each([&](int64_t e, int64_t l) { g[e * kLanes + l] *= m[e * kLanes + l] - eps(); });
        });
      }
  }

 private:
  static size_t index(int64_t i) { return static_cast<size_t>(i); }
  bool softmax() const { return o_.start == SinkhornStart::softmax; }
  bool sigmoid() const { return o_.start == SinkhornStart::sigmoid; }
  T eps() const { return o_.start == SinkhornStart::exp ? T(0) : static_cast<T>(o_.eps); }
  int64_t size() const { return n_ * n_ * kLanes; }
  T* at(size_t step) { return all_.data() + step * index(size()); }
  T* sum_at(size_t step, int64_t line) { return sums_.data() + (step * index(n_) + index(line)) * kLanes; }

  // f(each), where each(h) calls h(number, lane) for all of row or column k.
  template <class F>
  void lines(bool row, int64_t k, F&& f) const {
    const int64_t first = row ? k * n_ : k, step = row ? 1 : n_;
    f([&](auto&& h) {
      for (int64_t i = 0; i < n_; ++i)
        for (int64_t l = 0; l < kLanes; ++l) h(first + i * step, l);
    });
  }
  // g - sum of g (y - less) over a line, divided by `by` where that is given.
  void projected(bool row, int64_t k, const T* y, T less, const T* by, T* g) {
    lines(row, k, [&](auto&& each) {
      std::fill(line_.begin(), line_.end(), T(0));
      each([&](int64_t e, int64_t l) { line_[index(l)] += g[e * kLanes + l] * (y[e * kLanes + l] - less); });
      each([&](int64_t e, int64_t l) {
        g[e * kLanes + l] = (g[e * kLanes + l] - line_[index(l)]) / (by ? by[l] : T(1));
      });
    });
  }

  int64_t n_;
  SinkhornOptions o_;
  std::vector<char> rows_;  // of each division: are they rows?
  std::vector<T> all_, sums_, line_;
};

class SinkhornOp final : public FloatOp<SinkhornOp> {
 public:
  SinkhornOp(int64_t n, const SinkhornOptions& o) : n_(n), o_(o) {}
  std::string_view name() const override { return "sinkhorn"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(is_float(in[0].dtype()) && n_ > 0 && in[0].cols() == n_ * n_ && o_.iterations > 0,
            "sinkhorn: {} iterations of matrices of {} rows in {} of {}", o_.iterations, n_, in[0].shape().str(),
            to_string(in[0].dtype()));
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto divisions = static_cast<double>(2 * o_.iterations - (o_.start == SinkhornStart::softmax ? 1 : 0));
    return per_number(in[0], {10 + 2 * divisions, 14 + 6 * divisions, 2, 3});  // backward makes the iterates again
  }
  Keeps keeps() const override { return {.inputs = 1}; }
  template <class T>
  void forward_in(Forward& c) {
    const View<const T> x = c.in(0).view<T>();
    const View<T> y = c.out(0).view<T>();
    each_block<T>(x.rows, [&](Iterates<T>& of, int64_t r, int64_t count) {
      of.run(x, r, count);
      for (int64_t l = 0; l < count; ++l)
        for (int64_t e = 0; e < x.cols; ++e) y.row(r + l)[e] = of.last()[e * kLanes + l];
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink s = c.sink(0);
    if (!s) return;
    const View<const T> x = c.in(0).view<T>(), dy = c.grad(0).view<T>();
    const View<T> dx = s.view<T>();
    each_block<T>(x.rows, [&](Iterates<T>& of, int64_t r, int64_t count) {
      of.run(x, r, count);
      std::vector<T> g(static_cast<size_t>(x.cols * kLanes));
      for (int64_t l = 0; l < count; ++l)
        for (int64_t e = 0; e < x.cols; ++e) g[static_cast<size_t>(e * kLanes + l)] = dy.row(r + l)[e];
      of.back(g.data());
      for (int64_t l = 0; l < count; ++l)
        for (int64_t e = 0; e < x.cols; ++e) {
          T& d = dx.row(r + l)[e];
          d = (s.accumulate ? d : T(0)) + g[static_cast<size_t>(e * kLanes + l)];
        }
    });
  }

 private:
  template <class T, class F>
  void each_block(int64_t rows, F&& f) const {
    for_row_blocks(rows, [&](int64_t from, int64_t n) {
      Iterates<T> of(n_, o_);
      for (int64_t r = from; r < from + n; r += kLanes) f(of, r, std::min(kLanes, from + n - r));
    });
  }
  int64_t n_;
  SinkhornOptions o_;
};

}  // namespace

Tensor sinkhorn(const Tensor& x, int64_t n, const SinkhornOptions& o) {
  return run(std::make_unique<SinkhornOp>(n, o), {x});
}

}  // namespace effllm
