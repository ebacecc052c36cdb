#include "cores/cell/cell.h"
#include "cores/cell/cell_steps.h"
#include "kernels/cell.h"
#include "kernels/dense.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kGates, kWeight, kH0, kC0, kSegments };
enum Output { kH, kLastH, kLastC, kActivated, kCells };

class LstmCellOp final : public Op {
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
    const auto gates = static_cast<double>(in[kGates].numel()), n = gates / 4,
               size = static_cast<double>(size_of(in[kGates].dtype()));
    const double product = 2 * gates * static_cast<double>(in[kWeight].cols());
    const double weight = static_cast<double>(in[kWeight].numel());
    return {product + 48 * n, 2 * product + 36 * n, size * (2 * gates + 2 * n + weight),
            size * (2 * gates + 3 * n + 2 * weight), product};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kWeight | 1 << kH0 | 1 << kC0 | 1 << kSegments,
            .outputs = 1 << kH | 1 << kActivated | 1 << kCells};
  }

  // The weight laid out for products and the sums of a step; backwards also the states that tokens saw.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape &x = in[kGates].shape, &w = in[kWeight].shape;
    const int64_t packed = kernel::packed_size<float>(w[1], w[0]);
    return scratch_of(packed + x[0] * w[0], packed + x.rows() * w[1] + 2 * x[0] * w[1], in[kGates].dtype);
  }

  void forward(Forward& c) override {
    const int64_t batch = c.in(kGates).dim(0), tokens = c.in(kGates).dim(1), width = c.in(kWeight).cols();
    const DocumentStarts starts(c.in(kSegments));
    const bool keeps_all = c.recording();
    dispatch_float(c.in(kGates).dtype(), [&]<class T>() {
      const StepProduct<T> product(c.in(kWeight).view<T>(), true, tokens);
      const Tensor sums = Tensor::empty({batch, 4 * width}, c.in(kGates).dtype());
      const View<const T> in = c.in(kGates).view<T>();
      const View<T> h = c.out(kH).view<T>(), last = c.out(kLastC).view<T>();
      product.for_sequences(batch, [&](int64_t from, int64_t n) {
        for (int64_t t = 0; t < tokens; ++t) {
          const bool any = t > 0 || c.in(kH0).defined();
          if (any)
            product(t > 0 ? rows_of_step<T>(c.out(kH), from, n, t - 1) : rows_of_state<T>(c.in(kH0), from, n),
                    rows_of_state<T>(sums, from, n));
          for (int64_t b = from; b < from + n; ++b) {
            const int64_t row = b * tokens + t;
            LstmStep<T> s{.width = width,
                          .in = in.row(row),
                          .recurrent = nullptr,
                          .c_before = nullptr,
                          .h = h.row(row),
                          .c = last.row(b),
                          .gates = nullptr};
            if (keeps_all) {
              s.c = c.out(kCells).view<T>().row(row);
              s.gates = c.out(kActivated).view<T>().row(row);
            }
            if (any && goes_on(starts, b, t)) {
              s.recurrent = sums.view<T>().row(b);
              s.c_before = t == 0 ? c.in(kC0).view<T>().row(b) : keeps_all ? s.c - c.out(kCells).stride() : s.c;
            }
            kernel::lstm_cell<T>(s);
          }
        }
        for (int64_t b = from; b < from + n; ++b) {
          const int64_t row = (b + 1) * tokens - 1;
          std::copy_n(h.row(row), width, c.out(kLastH).view<T>().row(b));
          if (keeps_all) std::copy_n(c.out(kCells).view<T>().row(row), width, last.row(b));
        }
      });
    });
  }

  void backward(Backward& c) override {
    const Shape &shape = c.in_shape(kGates), &state = c.out_shape(kLastH);
    const int64_t batch = shape[0], tokens = shape[1], width = state[1];
    const DocumentStarts starts(c.in(kSegments));
    const Tensor d = Tensor::empty(shape, c.dtype());  // of the sums that gates and product form
    const Sink d_h0 = c.sink(kH0), d_c0 = c.sink(kC0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const StepProduct<T> product(c.in(kWeight).view<T>(), false, tokens);
      const Tensor d_h = running_gradient(c.grad(kLastH), state, c.dtype()),
                   d_c = running_gradient(c.grad(kLastC), state, c.dtype());
      const View<const T> gates = c.out(kActivated).view<T>(), cells = c.out(kCells).view<T>();
      const View<T> dh = d_h.view<T>(), dc = d_c.view<T>();
      product.for_sequences(batch, [&](int64_t from, int64_t n) {
        const View<T> some = dh.part(from, n);
        for (int64_t t = tokens - 1; t >= 0; --t) {
          if (c.grad(kH).defined()) kernel::sum<T>(some, rows_of_step<T>(c.grad(kH), from, n, t), some);
          for (int64_t b = from; b < from + n; ++b) {
            const int64_t row = b * tokens + t;
            const T* before = t > 0 ? cells.row(row - 1) : c.in(kC0).defined() ? c.in(kC0).view<T>().row(b) : nullptr;
            kernel::lstm_cell_backward<T>({.width = width,
                                           .gates = gates.row(row),
                                           .c = cells.row(row),
                                           .c_before = goes_on(starts, b, t) ? before : nullptr,
                                           .d_h = dh.row(b),
                                           .d_c = dc.row(b),
                                           .d_gates = d.view<T>().row(row)});
          }
          if (t == 0 && !d_h0.into.defined()) break;
          product(rows_of_step<T>(d, from, n, t), some);
          for (int64_t b = from; b < from + n; ++b)
            if (!goes_on(starts, b, t)) std::fill_n(dh.row(b), width, T(0));
        }
      });
      put_gradient<T>(d_h, d_h0);
      put_gradient<T>(d_c, d_c0);
      if (c.wants(kWeight)) {
        const Sink to = c.sink(kWeight);
        weight_gradient<T>(d.view<T>(), states_before<T>(c.out(kH), c.in(kH0), starts), to.into.view<T>(),
                           to.accumulate);
      }
    });
    c.give(kGates, d);
  }
};

}  // namespace

LstmResult lstm_cell(const Tensor& gates, const Tensor& recurrent, const Tensor& h0, const Tensor& c0,
                     const Tensor& segments) {
  auto out = run_many(std::make_unique<LstmCellOp>(), {gates, recurrent, h0, c0, segments});
  return {std::move(out[0]), std::move(out[1]), std::move(out[2])};
}

}  // namespace effllm
