#include "cores/conv/short_conv.h"

#include "autodiff/meter.h"
#include "cores/conv/conv_history.h"
#include "cores/scan/column_blocks.h"
#include "kernels/pointwise.h"
#include "kernels/short_conv.h"

namespace effllm {
namespace {

enum Input { kX, kWeight, kHistory, kSegments, kBias };

constexpr BlockSizes kBlocks{.columns = 128};

class ShortConvOp final : public FloatOp<ShortConvOp> {
 public:
  explicit ShortConvOp(bool silu = false) : silu_(silu) {}
  std::string_view name() const override { return "short_conv"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &s = in[kX].shape(), &w = in[kWeight].shape();
    const DType type = in[kX].dtype();
    require(s.rank() == 3 && s[1] >= 1 && w.rank() == 2 && w[0] >= 1 && w[1] == s[2] && is_float(type) &&
                in[kWeight].dtype() == type,
            "short_conv: x{} and weight{} are not [B, T, C] and [W, C] of one float type", s.str(), w.str());
    const Shape history{s[0], w[0] - 1, s[2]};
    require(!in[kHistory].defined() || (in[kHistory].shape() == history && in[kHistory].dtype() == type),
            "short_conv: history{} for x{} and weight{}, it should be {}", in[kHistory].shape().str(), s.str(), w.str(),
            history.str());
    require(!in[kBias].defined() || (in[kBias].shape() == Shape{s[2]} && in[kBias].dtype() == type),
            "short_conv: bias{} for {} channels", in[kBias].shape().str(), s[2]);
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{s, type}, {history, type}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = numbers(in[kX]), size = bytes_of_number(in[kX]);
    const auto width = static_cast<double>(in[kWeight].dim(0));
    const double activation = silu_ ? 8 * n : 0;  // an exponential with its surroundings
    const double shift = in.size() > kBias && in[kBias].defined() ? n : 0;
    return {2 * width * n + shift + activation, 4 * width * n + (silu_ ? 2 * width * n : 0) + shift + activation,
            2 * n * size, 3 * n * size};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kX | 1 << kWeight | 1 << kHistory | 1 << kSegments | 1 << kBias};
  }

  // The gradient of what went into silu.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    return scratch_of(0, silu_ ? in[kX].shape.numel() : 0, in[kX].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const DocumentStarts starts(c.in(kSegments));
    const auto block = [&](int64_t b, int64_t from, int64_t n) {
      const View<T> y = part_or_null<T>(c.out(0), b, from, n);
      convolve(c, starts, b, from, y);
      if (silu_) kernel::pointwise<T>(Pointwise::silu, y, y);
      keep_history<T>(starts.row(b), part_or_null<T>(c.in(kX), b, from, n), part_or_null<T>(c.in(kHistory), b, from, n),
                      part_or_null<T>(c.out(1), b, from, n));
    };
    for_column_blocks(c.in(kX).shape(), block, kBlocks);
  }

  template <class T>
  void backward_in(Backward& c) {
    const int64_t batch = c.in(kX).dim(0), tokens = c.in(kX).dim(1), columns = c.in(kX).cols();
    const DocumentStarts starts(c.in(kSegments));
    const Sink dx = c.sink(kX), dw = c.sink(kWeight), d_before = c.sink(kHistory), d_bias = c.sink(kBias);
    Tensor dy = c.whole_grad(0);
    if (silu_) dy = before_silu(c, starts, dy);
    // Threads share out columns, so that the gradient of the weight adds up over sequences in order.
    const int64_t turns = 1 + kBlocks.worth / (batch * tokens * kBlocks.columns + 1);
    parallel_for(columns, kBlocks.columns * turns, [&](int64_t from, int64_t to) {
      const int64_t n = to - from;
      for (int64_t b = 0; b < batch; ++b) {
        const View<T> x_sink = part_or_null<T>(dx.into, b, from, n),
                      before_sink = part_or_null<T>(d_before.into, b, from, n),
                      d_now = part_or_null<T>(c.grad(1), b, from, n);
        kernel::short_conv_backward<T>(
            part_or_null<T>(c.in(kX), b, from, n), part_or_null<T>(c.in(kWeight), 0, from, n),
            part_or_null<T>(c.in(kHistory), b, from, n), starts.row(b), part_or_null<T>(dy, b, from, n), x_sink,
            dx.accumulate, part_or_null<T>(dw.into, 0, from, n), dw.accumulate || b > 0, before_sink,
            d_before.accumulate);
        if (d_bias)
          kernel::column_sum<T>(part_or_null<T>(dy, b, from, n), d_bias.into.data<T>() + from,
                                d_bias.accumulate || b > 0);
        if (d_now) add_history_gradient<T>(starts.row(b), tokens, d_now, x_sink, before_sink);
      }
    });
  }

 private:
  // Columns from `from` on of sequence b, before silu.
  template <class T, class Pass>
  static void convolve(const Pass& c, const DocumentStarts& starts, int64_t b, int64_t from, View<T> y) {
    kernel::short_conv<T>(part_or_null<T>(c.in(kX), b, from, y.cols), part_or_null<T>(c.in(kWeight), 0, from, y.cols),
                          part_or_null<T>(c.in(kHistory), b, from, y.cols), starts.row(b), y);
    if (c.in(kBias).defined()) kernel::add_row<T>(y, c.in(kBias).template data<T>() + from, y);
  }
  // The gradient of what went into silu, which is computed again.
  Tensor before_silu(const Backward& c, const DocumentStarts& starts, const Tensor& dy) const {
    const Tensor d = Tensor::empty(dy.shape(), dy.dtype());
    dispatch_float(c.dtype(), [&]<class T>() {
      const auto block = [&](int64_t b, int64_t from, int64_t n) {
        const View<T> y = part_or_null<T>(d, b, from, n);
        convolve(c, starts, b, from, y);
        kernel::pointwise_backward<T>(Pointwise::silu, y, part_or_null<T>(dy, b, from, n), y, false);
      };
      for_column_blocks(dy.shape(), block, kBlocks);
    });
    return d;
  }

  bool silu_;
};

}  // namespace

ShortConvResult short_conv(const Tensor& x, const Tensor& weight, const Tensor& history, const Tensor& segments,
                           bool silu, const Tensor& bias) {
  return run_to<ShortConvResult>(std::make_unique<ShortConvOp>(silu), {x, weight, history, segments, bias});
}

}  // namespace effllm
