#include "ops/gate_floor.h"

#include <algorithm>
#include <cmath>

#include "autodiff/float_op.h"

namespace effllm {
namespace {

// f(column, softmax over the layers)
template <class T, class F>
void for_columns(View<const T> x, const Tensor& memory, F&& f) {
  T* p = memory.data<T>();
  for (int64_t c = 0; c < x.cols; ++c) {
    T most = x.row(0)[c], sum = 0;
    for (int64_t l = 1; l < x.rows; ++l) most = std::max(most, x.row(l)[c]);
    for (int64_t l = 0; l < x.rows; ++l) sum += p[l] = std::exp(x.row(l)[c] - most);
    for (int64_t l = 0; l < x.rows; ++l) p[l] /= sum;
    f(c, p);
  }
}

class GateFloorOp final : public FloatOp<GateFloorOp> {
 public:
  explicit GateFloorOp(int64_t layer) : layer_(layer) {}
  std::string_view name() const override { return "gate_floor"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().rank() == 2 && layer_ >= 0 && layer_ < in[0].dim(0), "gate_floor: layer {} of {}", layer_,
            in[0].shape().str());
    return {{{in[0].cols()}, in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {12, 16, 1, 2}); }
  Keeps keeps() const override { return {.inputs = 1}; }
  template <class T>
  void forward_in(Forward& c) {
    T* y = c.out(0).data<T>();
    const Tensor memory = Tensor::dense({c.in(0).dim(0)}, c.in(0).dtype());
    for_columns(View<const T>(c.in(0).view<T>()), memory, [&](int64_t column, const T* p) {
      y[column] = 0;
      for (int64_t l = 1; l <= layer_; ++l) y[column] += p[l];
    });
  }
  // dx_j = P_j dy ((1 <= j <= layer) - y)
  template <class T>
  void backward_in(Backward& c) {
    const Sink s = c.sink(0);
    if (!s) return;
    const auto d = s.into.view<T>();
    const T* g = c.grad(0).data<T>();
    const Tensor memory = Tensor::dense({c.in(0).dim(0)}, c.dtype());
    for_columns(View<const T>(c.in(0).view<T>()), memory, [&](int64_t column, const T* p) {
      T y = 0;
      for (int64_t l = 1; l <= layer_; ++l) y += p[l];
      for (int64_t l = 0; l < d.rows; ++l) {
        const T own = p[l] * g[column] * ((l >= 1 && l <= layer_ ? T(1) : T(0)) - y);
        d.row(l)[column] = s.accumulate ? d.row(l)[column] + own : own;
      }
    });
  }

 private:
  int64_t layer_;
};

}  // namespace

Tensor gate_floor(const Tensor& x, int64_t layer) { return run(std::make_unique<GateFloorOp>(layer), {x}); }

}  // namespace effllm
