#include "ops/depth_attention.h"

#include <cmath>
#include <vector>

#include "kernels/groups.h"
#include "kernels/softmax.h"
#include "ops/rows.h"

namespace effllm {
namespace {

enum Input { kQuery, kWeight, kValues };
enum Output { kY, kShares, kDots, kScales };  // shares p, dots v . (query weight), scales 1 / rms(v): [.., n]

class DepthAttentionOp final : public FloatOp<DepthAttentionOp> {
 public:
  DepthAttentionOp(size_t values, double eps) : n_(static_cast<int64_t>(values)), eps_(eps) {}
  std::string_view name() const override { return "depth_attention"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(n_ >= 1, "depth_attention: of no values");
    require_one_type(name(), in);
    const Shape& v = in[kValues].shape();
    for (const Tensor& t : in.subspan(kValues))
      require(t.shape() == v, "depth_attention: values {} and {}", v.str(), t.shape().str());
    for (const int i : {kQuery, kWeight})
      require(in[static_cast<size_t>(i)].shape() == Shape{v.cols()}, "depth_attention: a query or weight {} for {}",
              in[static_cast<size_t>(i)].shape().str(), v.str());
    const TensorSpec each{v.with(-1, n_), in[kValues].dtype()};
    return {{{v, in[kValues].dtype()}, each, each, each}, 3};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double n = numbers(in[kValues]) * static_cast<double>(n_), bytes = n * bytes_of_number(in[kValues]),
                 one = bytes / static_cast<double>(n_);
    return {6 * n, 10 * n, bytes + one, 3 * bytes + one};
  }
  Keeps keeps() const override {
    return {.inputs = (1U << (kValues + n_)) - 1, .outputs = 1 << kShares | 1 << kDots | 1 << kScales};
  }
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const int64_t rows = in[kValues].shape.numel() / in[kValues].shape.cols();
    return scratch_of(in[kQuery].shape[0], 2 * in[kQuery].shape[0] + rows * n_, in[kQuery].dtype);
  }
  template <class T>
  void forward_in(Forward& c) {
    const Tensor both = product<T>(c.in(kQuery), c.in(kWeight));
    const View<T> y = c.out(kY).view<T>();
    for_row_blocks(y.rows, [&](int64_t r, int64_t rows) {
      std::vector<T> memory(static_cast<size_t>(4 * rows * n_));
      const auto part = [&](int64_t i) { return View<T>{memory.data() + i * rows * n_, rows, n_, n_}; };
      const View<T> shares = part(0), dots = part(1), scales = part(2), scores = part(3);
      for (int64_t i = 0; i < n_; ++i) {
        const View<const T> v = value<T>(c.in(kValues + static_cast<int>(i)), r, rows);
        kernel::group_dot<T>(v, same_in_all<T>(both, rows), dots.columns(i, 1), false);
        kernel::group_dot<T>(v, v, scales.columns(i, 1), false);
      }
      for (int64_t k = 0; k < rows * n_; ++k) {
        scales.data[k] = T(1) / std::sqrt(scales.data[k] / static_cast<T>(y.cols) + static_cast<T>(eps_));
        scores.data[k] = dots.data[k] * scales.data[k];
      }
      kernel::softmax<T>(scores, shares, nullptr);
      for (int64_t i = 0; i < n_; ++i)
        kernel::scale_groups<T>(value<T>(c.in(kValues + static_cast<int>(i)), r, rows), shares.columns(i, 1),
                                y.part(r, rows), i > 0);
      if (!c.recording()) return;
      for (const auto& [out, from] : {std::pair{kShares, shares}, {kDots, dots}, {kScales, scales}})
        for (int64_t k = 0; k < rows; ++k) std::copy_n(from.row(k), n_, c.out(out).template view<T>().row(r + k));
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const Tensor both = product<T>(c.in(kQuery), c.in(kWeight));
    const View<const T> g = c.grad(kY).view<T>();
    const Tensor weighed = Tensor::dense({g.rows * n_}, c.dtype());  // of each value, what it adds to the gradient
    const auto weights = [&](int64_t r, int64_t rows) {              // of query weight
      return View<T>{weighed.data<T>() + r * n_, rows, n_, n_};
    };
    std::vector<Sink> sinks;
    for (int64_t i = 0; i < n_; ++i) sinks.push_back(c.sink(kValues + static_cast<int>(i)));
    for_row_blocks(g.rows, [&](int64_t r, int64_t rows) {
      std::vector<T> memory(static_cast<size_t>(2 * rows * n_));
      const View<T> of_share{memory.data(), rows, n_, n_}, of_value{memory.data() + rows * n_, rows, n_, n_};
      const View<T> of_both = weights(r, rows);
      for (int64_t i = 0; i < n_; ++i)
        kernel::group_dot<T>(g.part(r, rows), value<T>(c.in(kValues + static_cast<int>(i)), r, rows),
                             of_share.columns(i, 1), false);
      for (int64_t k = 0; k < rows; ++k) {
        const T *p = c.out(kShares).view<T>().row(r + k), *dot = c.out(kDots).view<T>().row(r + k),
                *scale = c.out(kScales).view<T>().row(r + k);
        T mean = 0;
        for (int64_t i = 0; i < n_; ++i) mean += p[i] * of_share.row(k)[i];
        for (int64_t i = 0; i < n_; ++i) {
          const T score = p[i] * (of_share.row(k)[i] - mean);
          of_both.row(k)[i] = score * scale[i];
          of_value.row(k)[i] = -score * dot[i] * scale[i] * scale[i] * scale[i] / static_cast<T>(g.cols);
        }
      }
      for (int64_t i = 0; i < n_; ++i) {
        const Sink& s = sinks[static_cast<size_t>(i)];
        if (!s) continue;
        const View<T> d = s.view<T>().part(r, rows);
        const View<const T> p = c.out(kShares).view<T>().part(r, rows).columns(i, 1);
        kernel::scale_groups<T>(g.part(r, rows), p, d, s.accumulate);
        kernel::scale_groups<T>(same_in_all<T>(both, rows), of_both.columns(i, 1), d, true);
        kernel::scale_groups<T>(value<T>(c.in(kValues + static_cast<int>(i)), r, rows), of_value.columns(i, 1), d,
                                true);
      }
    });
    const Tensor sum = Tensor::dense({g.cols}, c.dtype());
    fill(sum, 0);
    constexpr int64_t kColumns = 64;  // threads share out columns, rows add up in order
    parallel_for(g.cols, kColumns, [&](int64_t from, int64_t to) {
      const View<T> of_query{sum.data<T>() + from, 1, to - from, to - from};
      for (int64_t i = 0; i < n_; ++i) {
        const View<const T> v = c.in(kValues + static_cast<int>(i)).view<T>().columns(from, to - from);
        for (int64_t r = 0; r < g.rows; ++r)
          kernel::scale_groups<T>(v.part(r, 1), weights(r, 1).columns(i, 1), of_query, true);
      }
    });
    of_factor<T>(c, kQuery, sum, c.in(kWeight));
    of_factor<T>(c, kWeight, sum, c.in(kQuery));
  }

 private:
  template <class T>
  static View<const T> value(const Tensor& v, int64_t r, int64_t rows) {
    return View<const T>(v.view<T>()).part(r, rows);
  }
  template <class T>
  static View<const T> same_in_all(const Tensor& row, int64_t rows) {
    return {row.data<T>(), rows, row.numel(), 0};
  }
  template <class T>
  static Tensor product(const Tensor& a, const Tensor& b) {
    const Tensor y = Tensor::dense({a.numel()}, a.dtype());
    for (int64_t i = 0; i < a.numel(); ++i) y.data<T>()[i] = a.data<T>()[i] * b.data<T>()[i];
    return y;
  }
  // The gradient of one of the two whose product has the gradient `sum`.
  template <class T>
  static void of_factor(Backward& c, int input, const Tensor& sum, const Tensor& other) {
    const Sink s = c.sink(input);
    if (!s) return;
    T* d = s.into.data<T>();
    for (int64_t i = 0; i < sum.numel(); ++i)
      d[i] = (s.accumulate ? d[i] : T(0)) + sum.data<T>()[i] * other.data<T>()[i];
  }

  int64_t n_;
  double eps_;
};

}  // namespace

Tensor depth_attention(std::span<const Tensor> values, const Tensor& query, const Tensor& weight, double eps) {
  std::vector<Tensor> in = {query, weight};
  in.insert(in.end(), values.begin(), values.end());
  return std::move(run_many(std::make_unique<DepthAttentionOp>(values.size(), eps), std::span<const Tensor>(in))[0]);
}

}  // namespace effllm
