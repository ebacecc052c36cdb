#include "cores/gla/bonus.h"

#include "autodiff/float_op.h"
#include "kernels/linear_attention.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

enum Input { kO, kQ, kK, kV, kU };

class BonusOp final : public FloatOp<BonusOp> {
 public:
  explicit BonusOp(int64_t heads) : heads_(heads) {}
  std::string_view name() const override { return "bonus"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &o = in[kO].shape(), &q = in[kQ].shape();
    require(heads_ >= 1 && in[kV].shape() == o && in[kK].shape() == q && o == q.with(-1, o.cols()) &&
                o.cols() % heads_ == 0 && q.cols() % heads_ == 0 && in[kU].shape() == Shape{q.cols()},
            "bonus: o{}, q{}, k{}, v{}, u{} are not [.., H*dv], [.., H*dk] twice, [.., H*dv] and [H*dk] with H = {}",
            o.str(), q.str(), in[kK].shape().str(), in[kV].shape().str(), in[kU].shape().str(), heads_);
    require_one_type(name(), in);
    return {{o, in[kO].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto keys = numbers(in[kQ]), values = numbers(in[kV]), size = bytes_of_number(in[kO]);
    return {3 * keys + 2 * values, 12 * keys + 4 * values, size * (2 * keys + 3 * values),
            size * (4 * keys + 3 * values)};
  }
  Keeps keeps() const override { return {.inputs = 1 << kQ | 1 << kK | 1 << kV | 1 << kU}; }
  template <class T>
  void forward_in(Forward& c) {
    for_heads(c.in(kO).rows(),
              [&](int64_t h) { kernel::bonus<T>(head<T>(c, h), of<T>(c.in(kO), h), of<T>(c.out(0), h)); });
  }
  template <class T>
  void backward_in(Backward& c) {
    const Sink dq = c.sink(kQ), dk = c.sink(kK), dv = c.sink(kV);
    const Tensor du = c.sum(kU);
    for_heads(c.grad(0).rows(), [&](int64_t h) {
      T* d_u = of<T>(du, h).data;
      kernel::bonus_backward<T>(head<T>(c, h), {of<T>(c.grad(0), h), of<T>(dq.into, h), of<T>(dk.into, h),
                                                of<T>(dv.into, h), dq.accumulate, dk.accumulate, dv.accumulate, d_u});
    });
    c.give(kO, c.grad(0));
  }

 private:
  template <class F>
  void for_heads(int64_t rows, F&& f) const {
    parallel_for(heads_, 1 + (1 << 10) / (rows + 1), [&](int64_t from, int64_t to) {
      for (int64_t h = from; h < to; ++h) f(h);
    });
  }
  template <class T>
  View<T> of(const Tensor& x, int64_t h) const {
    const int64_t n = x.cols() / heads_;
    return x.defined() ? x.view<T>().columns(h * n, n) : View<T>{};
  }
  template <class T, class Pass>
  Bonus<T> head(const Pass& c, int64_t h) const {
    return {of<T>(c.in(kQ), h), of<T>(c.in(kK), h), of<T>(c.in(kV), h), of<T>(c.in(kU), h).data};
  }

  int64_t heads_;
};

}  // namespace

Tensor add_bonus(const Tensor& o, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& u, int64_t heads) {
  return run(std::make_unique<BonusOp>(heads), {o, q, k, v, u});
}

}  // namespace effllm
