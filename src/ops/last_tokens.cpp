#include "ops/last_tokens.h"

#include <algorithm>

#include "ops/rows.h"

namespace effllm {
namespace {

class LastTokensOp final : public Op {
 public:
  explicit LastTokensOp(int64_t count) : count_(count) {}
  std::string_view name() const override { return "last_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().rank() == 3 && is_float(in[0].dtype()) && count_ > 0 && count_ <= in[0].dim(1),
            "last_tokens: {} of x{}", count_, in[0].shape().str());
    return {{in[0].shape().with(1, count_), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const double bytes = static_cast<double>(in[0].dim(0) * count_ * in[0].cols() * size_of(in[0].dtype()));
    return {0, 0, 2 * bytes, 2 * bytes};
  }
  void forward(Forward& c) override {
    const int64_t all = c.in(0).dim(1);
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const View<T> y = c.out(0).view<T>();
      for (int64_t r = 0; r < y.rows; ++r) std::copy_n(x.row(source(r, all)), y.cols, y.row(r));
    });
  }
  void backward(Backward& c) override {
    const Tensor to = c.sum(0);
    if (!to.defined()) return;
    const int64_t all = to.dim(1);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<T> x = to.view<T>();
      const View<const T> y = c.grad(0).view<T>();
      for (int64_t r = 0; r < y.rows; ++r)
        for (int64_t i = 0; i < y.cols; ++i) x.row(source(r, all))[i] += y.row(r)[i];
    });
  }

 private:
  int64_t source(int64_t row, int64_t all) const { return row / count_ * all + all - count_ + row % count_; }
  int64_t count_;
};

}  // namespace

Tensor last_tokens(const Tensor& x, int64_t count) { return run(std::make_unique<LastTokensOp>(count), {x}); }

}  // namespace effllm
