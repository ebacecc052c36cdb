#include "cores/scan/selective_scan.h"

#include "cores/common/segments.h"
#include "cores/scan/column_blocks.h"
#include "kernels/dense.h"
#include "kernels/pointwise.h"
#include "kernels/selective_scan.h"

namespace effllm {
namespace {

enum Input { kX, kDelta, kALog, kB, kC, kSkip, kState0, kSegments };
enum Output { kY, kLast, kCheckpoints };

constexpr int64_t kColumns = 512;    // to one item of work
constexpr int64_t kWorth = 1 << 13;  // states that make a thread's turn pay

int64_t spans(int64_t tokens) { return (tokens + kSelectiveSpan - 1) / kSelectiveSpan; }

// exp(a_log) with channels inside: [N, C].
template <class T>
Tensor rates(const Tensor& a_log) {
  const Tensor rate = Tensor::empty({a_log.dim(1), a_log.dim(0)}, dtype_of<T>);
  kernel::transpose<T>(a_log.view<T>(), rate.view<T>());
  kernel::pointwise<T>(Pointwise::exp, rate.view<T>(), rate.view<T>());
  return rate;
}

class SelectiveScanOp final : public FloatOp<SelectiveScanOp> {
 public:
  std::string_view name() const override { return "selective_scan"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &s = in[kX].shape(), &a = in[kALog].shape(), &b = in[kB].shape();
    const DType type = in[kX].dtype();
    require(s.rank() == 3 && s[1] >= 1 && s[2] >= 1 && in[kDelta].shape() == s && a.rank() == 2 && a[0] == s[2] &&
                a[1] >= 1 && b == Shape{s[0], s[1], a[1]} && in[kC].shape() == b,
            "selective_scan: x{}, delta{}, a_log{}, b{}, c{} are not [B, T, C] twice, [C, N] and [B, T, N] twice",
            s.str(), in[kDelta].shape().str(), a.str(), b.str(), in[kC].shape().str());
    const Shape state{s[0], a[1], s[2]};
    require(!in[kSkip].defined() || in[kSkip].shape() == Shape{s[2]}, "selective_scan: skip{} for x{}",
            in[kSkip].shape().str(), s.str());
    require(!in[kState0].defined() || in[kState0].shape() == state,
            "selective_scan: state0{} for x{} and a_log{}, it should be {}", in[kState0].shape().str(), s.str(),
            a.str(), state.str());
    require_one_type(name(), in.first(kSegments));
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{{s, type}, {state, type}, {{s[0], spans(s[1]) * a[1], s[2]}, type}}, 1};
  }
  Cost cost(std::span<const Tensor> in) const override {  // a decay with its argument counts 8
    const auto n = numbers(in[kX]), states = static_cast<double>(in[kB].cols());
    const auto size = bytes_of_number(in[kX]), small = static_cast<double>(2 * in[kB].numel());
    const double skip = in[kSkip].defined() ? 2 : 0;
    return {n * (13 * states + 1 + skip), n * (28 * states + 6 + 2 * skip), size * (3 * n + small),
            size * (5 * n + 2 * small)};
  }
  Keeps keeps() const override {
    return {
        .inputs = 1 << kX | 1 << kDelta | 1 << kALog | 1 << kB | 1 << kC | 1 << kSkip | 1 << kState0 | 1 << kSegments,
        .outputs = 1 << kCheckpoints};
  }

  // The rates; backwards what blocks of columns and sequences add to b, c, a_log and skip.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape& x = in[kX].shape;
    const int64_t states = in[kB].shape.cols(), blocks = (x[2] + kColumns - 1) / kColumns, rates = states * x[2];
    return scratch_of(rates, 3 * rates + 2 * blocks * x.rows() * states + x[0] * (rates + x[2]), in[kX].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t states = c.in(kB).cols();
    const DocumentStarts starts(c.in(kSegments));
    const Tensor rate = rates<T>(c.in(kALog));
    const auto block = [&](int64_t b, int64_t from, int64_t n) {
      const Tensor scratch = Tensor::dense({kernel::selective_scan_scratch<T>(states, n)}, dtype_of<T>);
      SelectiveScan<T> pass = pass_of<T>(c, rate, starts, scratch, b, from, n);
      pass.y = part_or_null<T>(c.out(kY), b, from, n);
      pass.last = part_or_null<T>(c.out(kLast), b, from, n);
      if (c.recording()) pass.checkpoints = part_or_null<T>(c.out(kCheckpoints), b, from, n);
      kernel::selective_scan<T>(pass);
    };
    for_column_blocks(c.in(kX).shape(), block, sizes(c));
  }

  template <class T>
  void backward_in(Backward& c) {
    const Shape& s = c.in(kX).shape();
    const int64_t tokens = s[1], states = c.in(kB).cols(), blocks = (s[2] + kColumns - 1) / kColumns;
    const DocumentStarts starts(c.in(kSegments));
    const Sink d_x = c.sink(kX), d_delta = c.sink(kDelta), d_h0 = c.sink(kState0), d_b = c.sink(kB), d_c = c.sink(kC),
               d_a = c.sink(kALog), d_skip = c.sink(kSkip);
    // What blocks of columns add to b and c, and sequences to a_log and skip.
    const Tensor parts_b = Tensor::empty({blocks, s[0], tokens, states}, c.dtype()),
                 parts_c = Tensor::empty({blocks, s[0], tokens, states}, c.dtype()),
                 parts_rate = Tensor::empty({s[0], states, s[2]}, c.dtype()),
                 parts_skip = Tensor::empty({s[0], s[2]}, c.dtype());
    const Tensor rate = rates<T>(c.in(kALog));
    const auto one = [&](int64_t b, int64_t from, int64_t n) {
      const Tensor scratch = Tensor::dense({kernel::selective_scan_scratch<T>(states, n)}, dtype_of<T>);
      SelectiveScan<T> pass = pass_of<T>(c, rate, starts, scratch, b, from, n);
      pass.checkpoints = part_or_null<T>(c.out(kCheckpoints), b, from, n);
      const int64_t block = from / kColumns * s[0] + b;
      kernel::selective_scan_backward<T>(
          pass, {part_or_null<T>(c.grad(kY), b, from, n), part_or_null<T>(c.grad(kLast), b, from, n),
                 part_or_null<T>(d_x.into, b, from, n), part_or_null<T>(d_delta.into, b, from, n),
                 part_or_null<T>(d_h0.into, b, from, n), d_x.accumulate, d_delta.accumulate, d_h0.accumulate,
                 part_or_null<T>(parts_b, block, 0, states), part_or_null<T>(parts_c, block, 0, states),
                 part_or_null<T>(parts_rate, b, from, n), row_or_null<T>(parts_skip, b, from)});
    };
    for_column_blocks(s, one, sizes(c));
    add_parts<T>(parts_b, d_b);
    add_parts<T>(parts_c, d_c);
    if (d_skip) kernel::column_sum<T>(parts_skip.view<T>(), d_skip.into.data<T>(), d_skip.accumulate);
    if (d_a) rate_to_log<T>(parts_rate, rate, d_a);
  }

 private:
  template <class Pass>
  static BlockSizes sizes(const Pass& c) {
    return {.columns = kColumns, .work = c.in(kB).cols(), .worth = kWorth};
  }
  template <class T, class Pass>
  static SelectiveScan<T> pass_of(const Pass& c, const Tensor& rate, const DocumentStarts& starts,
                                  const Tensor& scratch, int64_t b, int64_t from, int64_t n) {
    const int64_t states = c.in(kB).cols();
    SelectiveScan<T> pass{};
    pass.x = part_or_null<T>(c.in(kX), b, from, n);
    pass.delta = part_or_null<T>(c.in(kDelta), b, from, n);
    pass.b = part_or_null<T>(c.in(kB), b, 0, states);
    pass.c = part_or_null<T>(c.in(kC), b, 0, states);
    pass.rate = part_or_null<T>(rate, 0, from, n);
    pass.skip = row_or_null<T>(c.in(kSkip), 0, from);
    pass.starts = starts.row(b);
    pass.h0 = part_or_null<T>(c.in(kState0), b, from, n);
    pass.scratch = scratch.data<T>();
    return pass;
  }
  // d a_log = rate * d rate, with states inside again.
  template <class T>
  static void rate_to_log(const Tensor& parts, const Tensor& rate, const Sink& d_a) {
    const int64_t states = rate.dim(0), columns = rate.dim(1);
    const Tensor sum = Tensor::empty(rate.shape(), rate.dtype()),
                 turned = Tensor::empty({columns, states}, rate.dtype());
    add_parts<T>(parts, {sum, false});
    kernel::multiply<T>(T(1), sum.view<T>(), rate.view<T>(), sum.view<T>(), false);
    kernel::transpose<T>(sum.view<T>(), turned.view<T>());
    kernel::scale<T>(T(1), turned.view<T>(), d_a.view<T>(), d_a.accumulate);
  }
};

}  // namespace

SelectiveScanResult selective_scan(const SelectiveScanInputs& in) {
  return run_to<SelectiveScanResult>(std::make_unique<SelectiveScanOp>(),
                                     {in.x, in.delta, in.a_log, in.b, in.c, in.skip, in.state0, in.segments});
}

}  // namespace effllm
