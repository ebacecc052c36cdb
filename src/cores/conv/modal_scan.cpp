#include "cores/common/segments.h"
#include "cores/conv/modal.h"
#include "cores/scan/column_blocks.h"
#include "kernels/modal.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kU, kDecay, kRead, kSkip, kState0, kSegments };
enum Output { kY, kLast, kCheckpoints };

int64_t spans(int64_t tokens) { return (tokens + kModalSpan - 1) / kModalSpan; }

class ModalScanOp final : public FloatOp<ModalScanOp> {
 public:
  std::string_view name() const override { return "modal_scan"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &s = in[kU].shape(), &w = in[kDecay].shape();
    const DType type = in[kU].dtype();
    require(s.rank() == 3 && s[1] >= 1 && s[2] >= 1 && w.rank() == 2 && w[0] >= 2 && w[0] % 2 == 0 && w[1] == s[2] &&
                in[kRead].shape() == w,
            "modal_scan: u{}, decays{}, reads{} are not [B, T, C] and [2P, C] twice", s.str(), w.str(),
            in[kRead].shape().str());
    require(!in[kSkip].defined() || in[kSkip].shape() == Shape{s[2]}, "modal_scan: skip{} for u{}",
            in[kSkip].shape().str(), s.str());
    const Shape state{s[0], w[0], s[2]};
    require(!in[kState0].defined() || in[kState0].shape() == state, "modal_scan: state0{} should be {}",
            in[kState0].shape().str(), state.str());
    require_one_type(name(), in.first(kSegments));
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{{s, type}, {state, type}, {{s[0], spans(s[1]) * w[0], s[2]}, type}}, 1};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = numbers(in[kU]), rows = static_cast<double>(in[kDecay].dim(0));
    const auto size = bytes_of_number(in[kU]);
    const double skip = in[kSkip].defined() ? 2 : 0;
    return {n * (5.5 * rows + skip), n * (16 * rows + 2 * skip), size * 2 * n, size * 3 * n};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kU | 1 << kDecay | 1 << kRead | 1 << kSkip | 1 << kSegments, .outputs = 1 << kCheckpoints};
  }

  // What each sequence adds to the modes.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape& u = in[kU].shape;
    return scratch_of(0, u[0] * u[2] * (2 * in[kDecay].shape[0] + 1), in[kU].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t rows = c.in(kDecay).dim(0);
    const DocumentStarts starts(c.in(kSegments));
    for_column_blocks(c.in(kU).shape(), [&](int64_t b, int64_t from, int64_t n) {
      const Tensor scratch = Tensor::dense({kernel::modal_scan_scratch<T>(rows / 2, n)}, dtype_of<T>);
      ModalScan<T> pass = pass_of<T>(c, starts, scratch, b, from, n);
      pass.h0 = part_or_null<T>(c.in(kState0), b, from, n);
      pass.y = part_or_null<T>(c.out(kY), b, from, n);
      pass.last = part_or_null<T>(c.out(kLast), b, from, n);
      if (c.recording()) pass.checkpoints = part_or_null<T>(c.out(kCheckpoints), b, from, n);
      kernel::modal_scan<T>(pass);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Shape& s = c.in(kU).shape();
    const int64_t rows = c.in(kDecay).dim(0);
    const DocumentStarts starts(c.in(kSegments));
    const Sink d_u = c.sink(kU), d_h0 = c.sink(kState0), d_w = c.sink(kDecay), d_e = c.sink(kRead),
               d_skip = c.sink(kSkip);
    // What each sequence adds to the modes.
    const Tensor parts_w = Tensor::empty({s[0], rows, s[2]}, c.dtype()),
                 parts_e = Tensor::empty(parts_w.shape(), c.dtype()),
                 parts_skip = Tensor::empty({s[0], s[2]}, c.dtype());
    for_column_blocks(s, [&](int64_t b, int64_t from, int64_t n) {
      const Tensor scratch = Tensor::dense({kernel::modal_scan_scratch<T>(rows / 2, n)}, dtype_of<T>);
      ModalScan<T> pass = pass_of<T>(c, starts, scratch, b, from, n);
      pass.checkpoints = part_or_null<T>(c.out(kCheckpoints), b, from, n);
      kernel::modal_scan_backward<T>(
          pass, {part_or_null<T>(c.grad(kY), b, from, n), part_or_null<T>(c.grad(kLast), b, from, n),
                 part_or_null<T>(d_u.into, b, from, n), part_or_null<T>(d_h0.into, b, from, n), d_u.accumulate,
                 d_h0.accumulate, part_or_null<T>(parts_w, b, from, n), part_or_null<T>(parts_e, b, from, n),
                 row_or_null<T>(parts_skip, b, from)});
    });
    add_parts<T>(parts_w, d_w);
    add_parts<T>(parts_e, d_e);
    add_parts<T>(parts_skip, d_skip);
  }

 private:
  template <class T, class Pass>
  static ModalScan<T> pass_of(const Pass& c, const DocumentStarts& starts, const Tensor& scratch, int64_t b,
                              int64_t from, int64_t n) {
    ModalScan<T> pass{};
    pass.u = part_or_null<T>(c.in(kU), b, from, n);
    pass.w = part_or_null<T>(c.in(kDecay), 0, from, n);
    pass.e = part_or_null<T>(c.in(kRead), 0, from, n);
    pass.skip = row_or_null<T>(c.in(kSkip), 0, from);
    pass.starts = starts.row(b);
    pass.scratch = scratch.data<T>();
    return pass;
  }
};

}  // namespace

ModalScanResult modal_scan(const Tensor& u, const Modes& modes, const Tensor& skip, const Tensor& state0,
                           const Tensor& segments) {
  return run_to<ModalScanResult>(std::make_unique<ModalScanOp>(), {u, modes.decay, modes.read, skip, state0, segments});
}

}  // namespace effllm
