#include "ops/mix_streams.h"

#include "kernels/groups.h"
#include "kernels/pointwise.h"
#include "ops/rows.h"

namespace effllm {
namespace {

enum Input { kX, kWeights, kOnto };

class MixStreamsOp final : public FloatOp<MixStreamsOp> {
 public:
  MixStreamsOp(int64_t n, int64_t m, MixOrder order) : n_(n), m_(m), order_(order) {}
  std::string_view name() const override { return "mix_streams"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &x = in[kX].shape(), &w = in[kWeights].shape();
    require_one_type(name(), in);
    require(n_ > 0 && m_ > 0 && x.cols() % n_ == 0 && w.cols() == n_ * m_ && x.with(-1, w.cols()) == w,
            "mix_streams: {} streams of {} with weights {}", n_, x.str(), w.str());
    const Shape y = x.with(-1, x.cols() / n_ * m_);
    require(!in[kOnto].defined() || in[kOnto].shape() == y, "mix_streams: {} onto {}", y.str(),
            in[kOnto].shape().str());
    return {{y, in[kX].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double n = numbers(in[kX]) * static_cast<double>(m_), size = bytes_of_number(in[kX]),
                 onto = in[kOnto].defined() ? numbers(in[kOnto]) : 0,
                 all = size * (numbers(in[kX]) + numbers(in[kWeights]) + n / static_cast<double>(n_));
    return {2 * n + onto, 4 * n, all + size * onto, 2 * all};
  }
  Keeps keeps() const override { return {.inputs = 1 << kX | 1 << kWeights}; }
  template <class T>
  void forward_in(Forward& c) {
    const View<const T> x = c.in(kX).view<T>(), w = c.in(kWeights).view<T>();
    const View<T> y = c.out(0).view<T>();
    const bool onto = c.in(kOnto).defined();
    for_row_blocks(y.rows, [&](int64_t r, int64_t n) {
      if (onto) kernel::scale<T>(T(1), c.in(kOnto).view<T>().part(r, n), y.part(r, n), false);
      for (int64_t i = 0; i < m_; ++i)
        for (int64_t j = 0; j < n_; ++j)
          kernel::scale_groups<T>(stream(x, j, n_).part(r, n), weight(w, i, j).part(r, n), stream(y, i, m_).part(r, n),
                                  onto || j > 0);
    });
  }
  template <class T>
  void backward_in(Backward& c) {
    const View<const T> x = c.in(kX).view<T>(), w = c.in(kWeights).view<T>(), g = c.grad(0).view<T>();
    if (const Sink s = c.sink(kX)) {
      const View<T> dx = s.view<T>();
      for_row_blocks(g.rows, [&](int64_t r, int64_t n) {
        for (int64_t j = 0; j < n_; ++j)
          for (int64_t i = 0; i < m_; ++i)
            kernel::scale_groups<T>(stream(g, i, m_).part(r, n), weight(w, i, j).part(r, n),
                                    stream(dx, j, n_).part(r, n), s.accumulate || i > 0);
      });
    }
    if (const Sink s = c.sink(kWeights)) {
      const View<T> dw = s.view<T>();
      for_row_blocks(g.rows, [&](int64_t r, int64_t n) {
        for (int64_t i = 0; i < m_; ++i)
          for (int64_t j = 0; j < n_; ++j)
            kernel::group_dot<T>(stream(g, i, m_).part(r, n), stream(x, j, n_).part(r, n), weight(dw, i, j).part(r, n),
                                 s.accumulate);
      });
    }
    if (c.wants(kOnto)) c.give(kOnto, c.grad(0));
  }

 private:
  template <class T>
  static View<T> stream(const View<T>& all, int64_t i, int64_t count) {
    return all.columns(i * (all.cols / count), all.cols / count);
  }
  template <class T>
  View<T> weight(const View<T>& all, int64_t i, int64_t j) const {
    return all.columns(order_ == MixOrder::by_result ? i * n_ + j : j * m_ + i, 1);
  }
  int64_t n_, m_;
  MixOrder order_;
};

}  // namespace

Tensor mix_streams(const Tensor& x, const Tensor& weights, int64_t n, MixOrder order, const Tensor& onto) {
  return run(std::make_unique<MixStreamsOp>(n, n > 0 ? weights.cols() / n : 0, order), {x, weights, onto});
}

}  // namespace effllm
