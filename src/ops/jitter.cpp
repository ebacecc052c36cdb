#include "ops/jitter.h"

#include "ops/rows.h"

namespace effllm {
namespace {

class JitterOp final : public Op {
 public:
  JitterOp(double by, const RandomStream& stream, const Samples& samples)
      : by_(by), stream_(stream), samples_(samples) {}
  std::string_view name() const override { return "jitter"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().rank() == 3 && is_float(in[0].dtype()) && by_ < 1, "jitter: x is [B, T, C], not {}, by {}",
            in[0].shape().str(), by_);
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {3, 3, 2, 2}); }
  void forward(Forward& c) override { multiply(c.in(0), c.out(0), false); }
  void backward(Backward& c) override {  // the numbers are made again
    if (!c.wants(0)) return;
    const Sink s = c.sink(0);
    multiply(c.grad(0), s.into, s.accumulate);
  }

 private:
  void multiply(const Tensor& x, const Tensor& y, bool add) const {
    dispatch_float(x.dtype(), [&]<class T>() {
      const View<const T> a = x.view<T>();
      const View<T> o = y.view<T>();
      const int64_t tokens = x.dim(1);
      for_row_blocks(a.rows, [&](int64_t from, int64_t n) {
        for (int64_t r = from; r < from + n; ++r) {
          const auto first =
              static_cast<uint64_t>(samples_[r / tokens]) << 40 | static_cast<uint64_t>(r % tokens * a.cols);
          for (int64_t i = 0; i < a.cols; ++i) {
            const double u = stream_.uniform(first + static_cast<uint64_t>(i));
            const T v = a.row(r)[i] * static_cast<T>(1 + by_ * (2 * u - 1));
            o.row(r)[i] = add ? o.row(r)[i] + v : v;
          }
        }
      });
    });
  }
  double by_;
  RandomStream stream_;
  Samples samples_;
};

}  // namespace

Tensor jitter(const Tensor& x, double by, const RandomStream& stream, const Samples& samples) {
  return run(std::make_unique<JitterOp>(by, stream, samples), {x});
}

}  // namespace effllm
