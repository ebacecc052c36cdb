#include "cores/cell/cell.h"
#include "cores/cell/cell_steps.h"
#include "kernels/cell.h"
#include "kernels/dense.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kIn, kWeight, kBias, kH0, kSegments };
enum Output { kH, kLast, kActivated };

class GruCellOp final : public FloatOp<GruCellOp> {
 public:
  std::string_view name() const override { return "gru_cell"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kIn].shape();
    const DType type = in[kIn].dtype();
    require(s.rank() == 3 && s[1] >= 1 && s[2] >= 3 && s[2] % 3 == 0 && is_float(type),
            "gru_cell: in{} is not [B, T, 3W] of a float type", s.str());
    const int64_t width = s[2] / 3;
    const Shape state{s[0], width};
    require(in[kWeight].shape() == Shape{3 * width, width} && in[kWeight].dtype() == type &&
                in[kBias].shape() == Shape{width} && in[kBias].dtype() == type,
            "gru_cell: recurrent{}, bias{} for in{}, they should be [{}, {}] and [{}] of its type",
            in[kWeight].shape().str(), in[kBias].shape().str(), s.str(), 3 * width, width, width);
    require(!in[kH0].defined() || (in[kH0].shape() == state && in[kH0].dtype() == type),
            "gru_cell: h0{} for in{}, it should be {}", in[kH0].shape().str(), s.str(), state.str());
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{{s.with(-1, width), type}, {state, type}, {s.with(-1, 4 * width), type}}, 1};
  }
  Cost cost(std::span<const Tensor> in) const override {  // a function with its surroundings counts 8
    const auto sums = numbers(in[kIn]), n = sums / 3, size = bytes_of_number(in[kIn]);
    const double product = 2 * sums * static_cast<double>(in[kWeight].cols());
    const double weight = numbers(in[kWeight]);
    return {product + 34 * n, 2 * product + 20 * n, size * (sums + 5 * n + weight), size * (sums + 7 * n + 2 * weight),
            product};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kWeight | 1 << kH0 | 1 << kSegments, .outputs = 1 << kH | 1 << kActivated};
  }

  Scratch scratch(std::span<const TensorSpec> in) const override { return cell_scratch(in[kIn], in[kWeight].shape); }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t tokens = c.in(kIn).dim(1), width = c.in(kWeight).cols();
    const DocumentStarts starts(c.in(kSegments));
    const StepProduct<T> product(c.in(kWeight).view<T>(), true, tokens);
    const View<const T> in = c.in(kIn).view<T>();
    const View<T> h = c.out(kH).view<T>();
    run_steps(product, c.out(kH), c.in(kH0), starts, 3 * width, c.out(kLast),
              [&](int64_t b, int64_t t, const T* recurrent) {
                const int64_t row = b * tokens + t;
                kernel::gru_cell<T>({.width = width,
                                     .in = in.row(row),
                                     .recurrent = recurrent,
                                     .bias = c.in(kBias).data<T>(),
                                     .h_before = recurrent ? row_before<T>(c.out(kH), c.in(kH0), b, t) : nullptr,
                                     .h = h.row(row),
                                     .gates = c.recording() ? c.out(kActivated).view<T>().row(row) : nullptr});
              });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Shape &shape = c.in_shape(kIn), &state = c.out_shape(kLast);
    const int64_t tokens = shape[1], width = state[1];
    const DocumentStarts starts(c.in(kSegments));
    // Of the input's sums, and of R_n h + b, where it differs from that of n's input.
    const Tensor d = Tensor::empty(shape, c.dtype()), dq = Tensor::empty(shape.with(-1, width), c.dtype());
    const Sink d_h0 = c.sink(kH0);
    const View<const T> weight = c.in(kWeight).view<T>(), gates = c.out(kActivated).view<T>();
    const StepProduct<T> of_gates(weight.part(0, 2 * width), false, tokens),
        of_candidate(weight.part(2 * width, width), false, tokens);
    const Tensor d_h = running_gradient(c.grad(kLast), state, c.dtype());
    const auto step = [&](int64_t b, int64_t t) {
      const int64_t row = b * tokens + t;
      kernel::gru_cell_backward<T>(
          {.width = width,
           .gates = gates.row(row),
           .h_before = goes_on(starts, b, t) ? row_before<T>(c.out(kH), c.in(kH0), b, t) : nullptr,
           .d_h = d_h.view<T>().row(b),
           .d_in = d.view<T>().row(row),
           .d_recurrent = dq.view<T>().row(row)});
    };
    run_steps_back(of_gates, tokens, c.grad(kH), d_h, starts, static_cast<bool>(d_h0), step,
                   [&](int64_t from, int64_t n, int64_t t, View<T> dh) {
                     of_gates(rows_of_step<T>(d, from, n, t).columns(0, 2 * width), dh, true);
                     of_candidate(rows_of_step<T>(dq, from, n, t), dh, true);
                   });
    put_gradient<T>(d_h, d_h0);
    if (const Sink to = c.sink(kWeight)) {
      const View<T> into = to.view<T>();
      const Tensor states = states_before<T>(c.out(kH), c.in(kH0), starts);
      const View<const T> before = states.view<T>();
      parallel_gemm<T>(d.view<T>().columns(0, 2 * width), true, before, false, into.part(0, 2 * width), to.accumulate);
      parallel_gemm<T>(dq.view<T>(), true, before, false, into.part(2 * width, width), to.accumulate);
    }
    if (const Sink to = c.sink(kBias)) kernel::column_sum<T>(dq.view<T>(), to.into.data<T>(), to.accumulate);
    c.give(kIn, d);
  }
};

}  // namespace

GruResult gru_cell(const Tensor& in, const Tensor& recurrent, const Tensor& bias, const Tensor& h0,
                   const Tensor& segments) {
  return run_to<GruResult>(std::make_unique<GruCellOp>(), {in, recurrent, bias, h0, segments});
}

}  // namespace effllm
