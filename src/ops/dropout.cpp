#include "ops/dropout.h"

#include "kernels/position.h"
#include "ops/rows.h"

namespace effllm {
namespace {

class DropoutOp final : public Op {
 public:
  DropoutOp(double p, uint32_t key0, uint32_t key1, const Samples& samples)
      : p_(p), key0_(key0), key1_(key1), samples_(samples) {}
  std::string_view name() const override { return "dropout"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(p_ < 1, "dropout: a probability below 1 is needed, not {}", p_);
    require(in[0].shape().rank() == 3, "dropout: x is [B, T, C], not {}", in[0].shape().str());
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {2, 2, 2, 2}); }
  void forward(Forward& c) override { mask(c.in(0), c.out(0), false); }
  void backward(Backward& c) override {  // the mask is made again
    if (const Sink s = c.sink(0)) mask(c.grad(0), s.into, s.accumulate);
  }

 private:
  void mask(const Tensor& x, const Tensor& y, bool add) const {
    dispatch_float(x.dtype(), [&]<class T>() {
      const View<const T> a = x.view<T>();
      const auto o = y.view<T>();
      const int64_t steps = x.dim(1);
      parallel_for(x.dim(0), 1, [&](int64_t from, int64_t to) {
        for (int64_t b = from; b < to; ++b)
          kernel::dropout<T>(a.part(b * steps, steps), p_, key0_, key1_, samples_[b], 0, steps,
                             o.part(b * steps, steps), add);
      });
    });
  }

  double p_;
  uint32_t key0_, key1_;
  Samples samples_;
};

}  // namespace

Tensor dropout(const Tensor& x, double p, const RandomStream& stream, const Samples& samples) {
  if (p <= 0) return x;
  return run(std::make_unique<DropoutOp>(p, stream.key0(), stream.key1(), samples), {x});
}

}  // namespace effllm
