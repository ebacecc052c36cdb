#include "cores/cell/cell.h"
#include "cores/cell/cell_steps.h"
#include "kernels/cell.h"
#include "kernels/dense.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kGates, kWeight, kH0, kC0, kSegments };
enum Output { kH, kLastH, kLastC, kActivated, kCells };

class LstmCellOp final : public FloatOp<LstmCellOp> {
 public:
  std::string_view name() const override { return "lstm_cell"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kGates].shape();
    const DType type = in[kGates].dtype();
    require(s.rank() == 3 && s[1] >= 1 && s[2] >= 4 && s[2] % 4 == 0 && is_float(type),
            "lstm_cell: gates{} are not [B, T, 4W] of a float type", s.str());
    const int64_t width = s[2] / 4;
    const Shape state{s[0], width};
    require(in[kWeight].shape() == Shape{4 * width, width} && in[kWeight].dtype() == type,
            "lstm_cell: recurrent{} for gates{}, it should be [{}, {}] of their type", in[kWeight].shape().str(),
            s.str(), 4 * width, width);
    require(in[kH0].defined() == in[kC0].defined(), "lstm_cell: h0 and c0 come together");
    for (int i : {kH0, kC0}) {
      const Tensor& t = in[static_cast<size_t>(i)];
      require(!t.defined() || (t.shape() == state && t.dtype() == type),
              "lstm_cell: h0{}, c0{} for gates{}, they should be {}", in[kH0].shape().str(), in[kC0].shape().str(),
              s.str(), state.str());
    }
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{{s.with(-1, width), type}, {state, type}, {state, type}, {s, type}, {s.with(-1, width), type}}, 2};
  }
  Cost cost(std::span<const Tensor> in) const override {  // a function with its surroundings counts 8
    const auto gates = numbers(in[kGates]), n = gates / 4, size = bytes_of_number(in[kGates]);
    const double product = 2 * gates * static_cast<double>(in[kWeight].cols());
    const double weight = numbers(in[kWeight]);
    return {product + 48 * n, 2 * product + 36 * n, size * (2 * gates + 2 * n + weight),
            size * (2 * gates + 3 * n + 2 * weight), product};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kWeight | 1 << kH0 | 1 << kC0 | 1 << kSegments,
            .outputs = 1 << kH | 1 << kActivated | 1 << kCells};
  }

  Scratch scratch(std::span<const TensorSpec> in) const override { return cell_scratch(in[kGates], in[kWeight].shape); }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t tokens = c.in(kGates).dim(1), width = c.in(kWeight).cols();
    const DocumentStarts starts(c.in(kSegments));
    const bool keeps_all = c.recording();
    const StepProduct<T> product(c.in(kWeight).view<T>(), true, tokens);
    const View<const T> in = c.in(kGates).view<T>();
    const View<T> h = c.out(kH).view<T>(), last = c.out(kLastC).view<T>();
    run_steps(product, c.out(kH), c.in(kH0), starts, 4 * width, c.out(kLastH),
              [&](int64_t b, int64_t t, const T* recurrent) {
                const int64_t row = b * tokens + t;
                LstmStep<T> s{.width = width,
                              .in = in.row(row),
                              .recurrent = recurrent,
                              .c_before = nullptr,
                              .h = h.row(row),
                              .c = last.row(b),
                              .gates = nullptr};
                if (recurrent) s.c_before = t == 0 ? c.in(kC0).view<T>().row(b) : s.c;
                if (keeps_all) {
                  if (recurrent) s.c_before = row_before<T>(c.out(kCells), c.in(kC0), b, t);
                  s.c = c.out(kCells).view<T>().row(row);
                  s.gates = c.out(kActivated).view<T>().row(row);
                }
                kernel::lstm_cell<T>(s);
                if (keeps_all && t + 1 == tokens) std::copy_n(s.c, width, last.row(b));
              });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Shape &shape = c.in_shape(kGates), &state = c.out_shape(kLastH);
    const int64_t tokens = shape[1], width = state[1];
    const DocumentStarts starts(c.in(kSegments));
    const Tensor d = Tensor::empty(shape, c.dtype());  // of the sums that gates and product form
    const Sink d_h0 = c.sink(kH0), d_c0 = c.sink(kC0);
    const StepProduct<T> product(c.in(kWeight).view<T>(), false, tokens);
    const Tensor d_h = running_gradient(c.grad(kLastH), state, c.dtype()),
                 d_c = running_gradient(c.grad(kLastC), state, c.dtype());
    const View<const T> gates = c.out(kActivated).view<T>(), cells = c.out(kCells).view<T>();
    const auto step = [&](int64_t b, int64_t t) {
      const int64_t row = b * tokens + t;
      kernel::lstm_cell_backward<T>(
          {.width = width,
           .gates = gates.row(row),
           .c = cells.row(row),
           .c_before = goes_on(starts, b, t) ? row_before<T>(c.out(kCells), c.in(kC0), b, t) : nullptr,
           .d_h = d_h.view<T>().row(b),
           .d_c = d_c.view<T>().row(b),
           .d_gates = d.view<T>().row(row)});
    };
    run_steps_back(
        product, tokens, c.grad(kH), d_h, starts, static_cast<bool>(d_h0), step,
        [&](int64_t from, int64_t n, int64_t t, View<T> dh) { product(rows_of_step<T>(d, from, n, t), dh); });
    put_gradient<T>(d_h, d_h0);
    put_gradient<T>(d_c, d_c0);
    if (const Sink to = c.sink(kWeight)) {
      const Tensor before = states_before<T>(c.out(kH), c.in(kH0), starts);
      parallel_gemm<T>(d.view<T>(), true, before.view<T>(), false, to.view<T>(), to.accumulate);
    }
    c.give(kGates, d);
  }
};

}  // namespace

LstmResult lstm_cell(const Tensor& gates, const Tensor& recurrent, const Tensor& h0, const Tensor& c0,
                     const Tensor& segments) {
  return run_to<LstmResult>(std::make_unique<LstmCellOp>(), {gates, recurrent, h0, c0, segments});
}

}  // namespace effllm
