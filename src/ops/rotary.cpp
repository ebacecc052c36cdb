#include "ops/rotary.h"

#include <cmath>

#include "ops/rows.h"

namespace effllm {

RotaryTable::RotaryTable(int64_t dim, double theta, int64_t positions) : dim_(dim), positions_(positions) {
  require(dim > 0 && dim % 2 == 0, "rotary: pairs of columns are turned, so that their number is even and not {}", dim);
  const int64_t half = dim / 2;
  for (int64_t i = 0; i < half; ++i)
    frequency_.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim)));
  for (int64_t p = 0; p < positions; ++p)
    for (int64_t i = 0; i < half; ++i) {
      cos64_.push_back(std::cos(angle(p, i)));
      sin64_.push_back(std::sin(angle(p, i)));
    }
  cos32_.assign(cos64_.begin(), cos64_.end());
  sin32_.assign(sin64_.begin(), sin64_.end());
}

template <class T>
void RotaryTable::rows(const int64_t* position, int64_t n, T* cosines, T* sines) const {
  const int64_t half = dim_ / 2;
  for (int64_t r = 0; r < n; ++r, cosines += half, sines += half) {
    const int64_t p = position[r];
    for (int64_t i = 0; i < half; ++i) {
      const auto at = static_cast<size_t>(p * half + i);
      if (p >= positions_) {
        cosines[i] = static_cast<T>(std::cos(angle(p, i)));
        sines[i] = static_cast<T>(std::sin(angle(p, i)));
      } else if constexpr (sizeof(T) == 4) {
        cosines[i] = cos32_[at];
        sines[i] = sin32_[at];
      } else {
        cosines[i] = cos64_[at];
        sines[i] = sin64_[at];
      }
    }
  }
}
template void RotaryTable::rows<float>(const int64_t*, int64_t, float*, float*) const;
template void RotaryTable::rows<double>(const int64_t*, int64_t, double*, double*) const;

namespace {

class RotaryOp final : public Op {
 public:
  RotaryOp(int64_t heads, std::shared_ptr<const RotaryTable> table) : heads_(heads), table_(std::move(table)) {}
  std::string_view name() const override { return "rotary"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().rank() == 3 && in[0].cols() % heads_ == 0 && in[0].cols() / heads_ >= table_->dim(),
            "rotary: x{} is not [B, T, {} heads of at least {}]", in[0].shape().str(), heads_, table_->dim());
    require(in[1].dtype() == DType::i64 && in[1].is_dense() && in[1].numel() == in[0].rows(),
            "rotary: positions{} for x{}", in[1].shape().str(), in[0].shape().str());
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {3 * n, 3 * n, 2 * bytes, 2 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 2}; }
  void forward(Forward& c) override { turn(c.in(0), c.in(1), c.out(0), false, false); }
  void backward(Backward& c) override {
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    turn(c.grad(0), c.in(1), s.into, true, s.accumulate);
  }

 private:
  void turn(const Tensor& x, const Tensor& positions, const Tensor& y, bool inverse, bool add) const {
    dispatch_float(x.dtype(), [&]<class T>() {
      const View<const T> a = x.view<T>();
      const auto o = y.view<T>();
      const int64_t half = table_->dim() / 2;
      const int64_t* p = positions.data<int64_t>();
      const Tensor angles = Tensor::dense({2, a.rows * half}, x.dtype());
      T *cosines = angles.data<T>(), *sines = cosines + a.rows * half;
      for_row_blocks(a.rows, [&](int64_t r, int64_t n) {
        table_->rows(p + r, n, cosines + r * half, sines + r * half);
        kernels<T>().rotate(a.part(r, n), heads_, a.cols / heads_, table_->dim(), cosines + r * half, sines + r * half,
                            inverse, o.part(r, n), add);
      });
    });
  }

  int64_t heads_;
  std::shared_ptr<const RotaryTable> table_;
};

}  // namespace

Tensor rotary(const Tensor& x, const Tensor& positions, int64_t heads, std::shared_ptr<const RotaryTable> table) {
  return run(std::make_unique<RotaryOp>(heads, std::move(table)), {x, positions});
}

}  // namespace effllm
