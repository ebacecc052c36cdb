#include "cores/scan/fused_scan.h"

#include "cores/common/segments.h"
#include "cores/scan/column_blocks.h"
#include "kernels/pointwise.h"

namespace effllm {
namespace {

enum Input { kX, kRow = 3, kH0, kSegments };

// A form of the scan: its kernels, how many inputs it has, whether a row, and FLOPs of an element forwards and
// backwards, where an exponential with its surroundings counts 8.
struct Form {
  std::string_view name;
  const Kernel<ScanSignature<float>>& f;
  const Kernel<ScanSignature<double>>& d;
  size_t inputs;
  bool row;
  double forward_flops, backward_flops;
  template <class T>
  const Kernel<ScanSignature<T>>& scan() const {
    if constexpr (std::is_same_v<T, float>)
      return f;
    else
      return d;
  }
};

class FusedScanOp final : public FloatOp<FusedScanOp> {
 public:
  FusedScanOp(const Form& form, Candidate candidate) : form_(form), candidate_(candidate) {}
  std::string_view name() const override { return form_.name; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kX].shape();
    require(s.rank() == 3 && s[1] >= 1 && is_float(in[kX].dtype()), "{}: {} is not [B, T, C]", name(), s.str());
    for (size_t i = 1; i < 3; ++i)
      require(i < form_.inputs ? in[i].shape() == s && in[i].dtype() == in[kX].dtype() : !in[i].defined(),
              "{}: input {} is {}, the first is {}", name(), i, in[i].shape().str(), s.str());
    const auto fits = [&](const Tensor& t, const Shape& want) {
      return t.shape() == want && t.dtype() == in[kX].dtype();
    };
    const Shape last{s[0], s[2]};
    require(form_.row ? fits(in[kRow], {s[2]}) : !in[kRow].defined(), "{}: a row {} for {}", name(),
            in[kRow].shape().str(), s.str());
    require(!in[kH0].defined() || fits(in[kH0], last), "{}: h0{} for {}, it should be {}", name(),
            in[kH0].shape().str(), s.str(), last.str());
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{s, in[kX].dtype()}, {last, in[kX].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = numbers(in[kX]), size = bytes_of_number(in[kX]), k = static_cast<double>(form_.inputs);
    return {form_.forward_flops * n, form_.backward_flops * n, (k + 1) * n * size, (2 * k + 2) * n * size};
  }
  Keeps keeps() const override { return {.inputs = 0b111111, .outputs = 1}; }

  template <class T>
  void forward_in(Forward& c) {
    const int64_t tokens = c.in(kX).dim(1);
    const DocumentStarts starts(c.in(kSegments));
    for_column_blocks(c.in(kX).shape(), [&](int64_t b, int64_t from, int64_t n) {
      const View<T> h = part_or_null<T>(c.out(0), b, from, n);
      form_.scan<T>()(inputs<T>(c, starts, b, from, n), h, nullptr);
      std::copy_n(h.row(tokens - 1), n, row_or_null<T>(c.out(1), b, from));
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Shape& shape = c.in(kX).shape();
    const DocumentStarts starts(c.in(kSegments));
    Sink dx[3] = {};
    for (size_t i = 0; i < form_.inputs; ++i) dx[i] = c.sink(static_cast<int>(i));
    const Sink d_row = form_.row ? c.sink(kRow) : Sink{{}, false}, d_h0 = c.sink(kH0);
    // What each sequence gives to the row, added up in their order.
    const Tensor rows = d_row.into.defined() ? Tensor::dense({shape[0], shape[2]}, c.dtype()) : Tensor();
    for_column_blocks(shape, [&](int64_t b, int64_t from, int64_t n) {
      const auto part = [&](const Tensor& t) { return part_or_null<T>(t, b, from, n); };
      const ScanBackward<T> d = {part(c.grad(0)),
                                 row_or_null<T>(c.grad(1), b, from),
                                 {part(dx[0].into), part(dx[1].into), part(dx[2].into)},
                                 {dx[0].accumulate, dx[1].accumulate, dx[2].accumulate},
                                 row_or_null<T>(rows, b, from),
                                 row_or_null<T>(d_h0.into, b, from),
                                 d_h0.accumulate};
      form_.scan<T>()(inputs<T>(c, starts, b, from, n), part(c.out(0)), &d);
    });
    if (rows.defined()) kernel::column_sum<T>(rows.view<T>(), d_row.into.data<T>(), d_row.accumulate);
  }

 private:
  template <class T, class C>
  Scan<T> inputs(const C& c, const DocumentStarts& starts, int64_t b, int64_t from, int64_t n) const {
    Scan<T> s = {};
    for (size_t i = 0; i < form_.inputs; ++i) s.x[i] = part_or_null<T>(c.in(static_cast<int>(i)), b, from, n);
    s.row = row_or_null<T>(c.in(kRow), 0, from);
    s.h0 = row_or_null<T>(c.in(kH0), b, from);
    s.starts = starts.row(b);
    s.candidate = candidate_;
    return s;
  }

  Form form_;
  Candidate candidate_;
};

ScanResult scan(const Form& form, Candidate candidate, std::initializer_list<Tensor> inputs) {
  return run_to<ScanResult>(std::make_unique<FusedScanOp>(form, candidate), inputs);
}
double flops(Candidate c) { return c == Candidate::positive ? 8 : 0; }

}  // namespace

ScanResult gated_scan(const Tensor& z, const Tensor& u, Candidate candidate, const Tensor& h0, const Tensor& segments) {
  const double g = flops(candidate);
  return scan({"gated_scan", kernel::gated_scan<float>, kernel::gated_scan<double>, 2, false, 11 + g, 17 + g},
              candidate, {z, u, {}, {}, h0, segments});
}
ScanResult ratio_scan(const Tensor& f, const Tensor& i, const Tensor& u, Candidate candidate, const Tensor& h0,
                      const Tensor& segments) {
  const double g = flops(candidate);
  return scan({"ratio_scan", kernel::ratio_scan<float>, kernel::ratio_scan<double>, 3, false, 25 + g, 37 + g},
              candidate, {f, i, u, {}, h0, segments});
}
ScanResult floored_scan(const Tensor& f, const Tensor& u, const Tensor& floor, const Tensor& h0,
                        const Tensor& segments) {
  return scan({"floored_scan", kernel::floored_scan<float>, kernel::floored_scan<double>, 2, true, 23, 35},
              Candidate::linear, {f, u, {}, floor, h0, segments});
}
ScanResult power_scan(const Tensor& r, const Tensor& i, const Tensor& u, const Tensor& rate, const Tensor& h0,
                      const Tensor& segments) {
  return scan({"power_scan", kernel::power_scan<float>, kernel::power_scan<double>, 3, true, 33, 45}, Candidate::linear,
              {r, i, u, rate, h0, segments});
}

}  // namespace effllm
