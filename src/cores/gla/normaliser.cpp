#include "cores/gla/normaliser.h"

#include "cores/common/heads.h"
#include "cores/common/segments.h"
#include "kernels/linear_attention.h"

namespace effllm {
namespace {

enum Input { kO, kQ, kK, kZ0, kSegments };

class NormaliserOp final : public FloatOp<NormaliserOp> {
 public:
  NormaliserOp(int64_t heads, double eps) : heads_(heads), eps_(eps) {}
  std::string_view name() const override { return "normaliser"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &o = in[kO].shape(), &q = in[kQ].shape();
    const DType type = in[kO].dtype();
    require(heads_ >= 1 && o.rank() == 3 && q.rank() == 3 && in[kK].shape() == q && o[0] == q[0] && o[1] == q[1] &&
                o[2] % heads_ == 0 && q[2] % heads_ == 0 && o[2] > 0 && q[2] > 0 && o[1] > 0,
            "normaliser: o{}, q{}, k{} are not [B, T, H*dv] and [B, T, H*dk] twice with H = {}", o.str(), q.str(),
            in[kK].shape().str(), heads_);
    const Shape z{q[0], heads_, q[2] / heads_};
    require(!in[kZ0].defined() || in[kZ0].shape() == z, "normaliser: z0{}, it should be {}", in[kZ0].shape().str(),
            z.str());
    require_one_type(name(), in.first(kSegments));
    require_segments(name(), in[kSegments], q[0], q[1]);
    return Outputs({{o, type}, {z, type, true}, {{q[0], q[1], heads_}, type}}, 1);
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto keys = numbers(in[kQ]), values = numbers(in[kO]), size = bytes_of_number(in[kO]);
    return {3 * keys + values, 6 * keys + 4 * values, size * (2 * keys + 2 * values), size * (4 * keys + 3 * values)};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kO | 1 << kQ | 1 << kK | 1 << kZ0 | 1 << kSegments, .outputs = 1 << 2};
  }

  template <class T>
  void forward_in(Forward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const int64_t tokens = c.in(kQ).dim(1);
    Tensor unrecorded;
    if (!c.out(2).defined()) unrecorded = Tensor::empty({c.in(kQ).dim(0), tokens, heads_}, c.in(kQ).dtype());
    const Tensor& inverse = c.out(2).defined() ? c.out(2) : unrecorded;
    for_each_head(c.in(kQ).dim(0), heads_, work(c), [&](int64_t, int64_t b, int64_t h) {
      const int64_t n = c.in(kQ).cols() / heads_;
      T* z = c.out(1).data<T>() + (b * heads_ + h) * n;
      start<T>(c.in(kZ0), b, h, n, z);
      kernel::normaliser<T>(head<T>(c, inverse, starts, b, h), part<T>(c.out(0), b, h), z);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const Sink d_o = c.sink(kO), dq = c.sink(kQ), dk = c.sink(kK), dz = c.sink(kZ0);
    const Tensor dy = c.whole_grad(0);
    const int64_t n = c.in(kQ).cols() / heads_, tokens = c.in(kQ).dim(1);
    for_each_head(c.in(kQ).dim(0), heads_, work(c), [&](int64_t, int64_t b, int64_t h) {
      const Tensor scratch = Tensor::dense({2 * n + tokens}, c.dtype());
      T *z = scratch.data<T>(), *d_z = z + n;
      start<T>(c.in(kZ0), b, h, n, z);
      start<T>(c.grad(1), b, h, n, d_z);
      kernel::normaliser_backward<T>(
          head<T>(c, c.out(2), starts, b, h),
          {part<T>(dy, b, h), part<T>(dq.into, b, h), part<T>(dk.into, b, h), part<T>(d_o.into, b, h), dq.accumulate,
           dk.accumulate, d_o.accumulate, z, d_z, d_z + n});
      if (!dz.into.defined()) return;
      T* y = dz.into.view<T>().row(b * heads_ + h);
      for (int64_t i = 0; i < n; ++i) y[i] = (dz.accumulate ? y[i] : T(0)) + d_z[i];
    });
  }

 private:
  template <class Pass>
  int64_t work(const Pass& c) const {
    return c.in(kQ).dim(1) * (c.in(kQ).cols() + c.in(kO).cols()) / heads_;
  }
  template <class T>
  View<T> part(const Tensor& x, int64_t b, int64_t h) const {
    return columns_of_head<T>(x, b, h, heads_);
  }
  template <class T>
  void start(const Tensor& z0, int64_t b, int64_t h, int64_t n, T* z) const {
    if (z0.defined())
      std::copy_n(z0.view<T>().row(b * heads_ + h), n, z);
    else
      std::fill_n(z, n, T(0));
  }
  template <class T, class Pass>
  Normaliser<T> head(const Pass& c, const Tensor& inverse, const DocumentStarts& starts, int64_t b, int64_t h) const {
    return {part<T>(c.in(kQ), b, h), part<T>(c.in(kK), b, h), part<T>(c.in(kO), b, h),
            starts.row(b),           static_cast<T>(eps_),    part<T>(inverse, b, h)};
  }

  int64_t heads_;
  double eps_;
};

}  // namespace

NormaliserResult normalise_by_keys(const Tensor& o, const Tensor& q, const Tensor& k, const Tensor& z0,
                                   const Tensor& segments, int64_t heads, double eps) {
  return run_to<NormaliserResult>(std::make_unique<NormaliserOp>(heads, eps), {o, q, k, z0, segments});
}

}  // namespace effllm
