#include "cores/scan/fused_scan.h"

#include "autodiff/op.h"
#include "cores/common/segments.h"
#include "cores/scan/column_blocks.h"

namespace effllm {
namespace {

enum Input { kX, kRow = 3, kH0, kSegments };

class FusedScanOp final : public Op {
 public:
  explicit FusedScanOp(ScanForm form) : form_(form), inputs_(static_cast<size_t>(inputs_of(form))) {}
  std::string_view name() const override {
    return form_ == ScanForm::hgrn ? "hgrn_scan" : form_ == ScanForm::rg_lru ? "rg_lru_scan" : "min_lstm_scan";
  }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kX].shape();
    require(s.rank() == 3 && s[1] >= 1 && is_float(in[kX].dtype()), "{}: {} is not [B, T, C]", name(), s.str());
    for (size_t i = 1; i < 3; ++i)
      require(i < inputs_ ? in[i].shape() == s && in[i].dtype() == in[kX].dtype() : !in[i].defined(),
              "{}: input {} is {}, the first is {}", name(), i, in[i].shape().str(), s.str());
    const auto fits = [&](const Tensor& t, const Shape& want) {
      return t.shape() == want && t.dtype() == in[kX].dtype();
    };
    const Shape last{s[0], s[2]};
    require(has_row(form_) ? fits(in[kRow], {s[2]}) : !in[kRow].defined(), "{}: a row {} for {}", name(),
            in[kRow].shape().str(), s.str());
    require(!in[kH0].defined() || fits(in[kH0], last), "{}: h0{} for {}, it should be {}", name(),
            in[kH0].shape().str(), s.str(), last.str());
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{s, in[kX].dtype()}, {last, in[kX].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {  // an exponential with its surroundings counts 8
    const auto n = static_cast<double>(in[kX].numel()), size = static_cast<double>(size_of(in[kX].dtype())),
               k = static_cast<double>(inputs_);
    const double gates = form_ == ScanForm::min_lstm ? 22 : form_ == ScanForm::hgrn ? 20 : 30;
    return {(gates + 3) * n, (gates + 15) * n, (k + 1) * n * size, (2 * k + 2) * n * size};
  }
  Keeps keeps() const override { return {.inputs = 0b111111, .outputs = 1}; }

  void forward(Forward& c) override {
    const int64_t tokens = c.in(kX).dim(1);
    const DocumentStarts starts(c.in(kSegments));
    dispatch_float(c.in(kX).dtype(), [&]<class T>() {
      for_column_blocks(c.in(kX).shape(), [&](int64_t b, int64_t from, int64_t n) {
        const View<T> h = part_or_null<T>(c.out(0), b, tokens, from, n);
        kernels<T>().fused_scan(form_, inputs<T>(c, starts, b, from, n), h);
        std::copy_n(h.row(tokens - 1), n, row_or_null<T>(c.out(1), b, from));
      });
    });
  }

  void backward(Backward& c) override {
    const Shape& shape = c.in(kX).shape();
    const DocumentStarts starts(c.in(kSegments));
    Sink dx[3] = {};
    for (size_t i = 0; i < inputs_; ++i) dx[i] = c.sink(static_cast<int>(i));
    const Sink d_row = has_row(form_) ? c.sink(kRow) : Sink{{}, false}, d_h0 = c.sink(kH0);
    // What each sequence gives to the row, added up in their order.
    const Tensor rows = d_row.into.defined() ? Tensor::dense({shape[0], shape[2]}, c.dtype()) : Tensor();
    dispatch_float(c.dtype(), [&]<class T>() {
      for_column_blocks(shape, [&](int64_t b, int64_t from, int64_t n) {
        const auto part = [&](const Tensor& t) { return part_or_null<T>(t, b, shape[1], from, n); };
        kernels<T>().fused_scan_backward(form_, inputs<T>(c, starts, b, from, n),
                                         {part(c.out(0)),
                                          part(c.grad(0)),
                                          row_or_null<T>(c.grad(1), b, from),
                                          {part(dx[0].into), part(dx[1].into), part(dx[2].into)},
                                          {dx[0].accumulate, dx[1].accumulate, dx[2].accumulate},
                                          row_or_null<T>(rows, b, from),
                                          row_or_null<T>(d_h0.into, b, from),
                                          d_h0.accumulate});
      });
      if (rows.defined()) kernels<T>().column_sum(rows.view<T>(), d_row.into.data<T>(), d_row.accumulate);
    });
  }

 private:
  template <class T, class C>
  FusedScan<T> inputs(const C& c, const DocumentStarts& starts, int64_t b, int64_t from, int64_t n) const {
    FusedScan<T> s = {};
    for (size_t i = 0; i < inputs_; ++i)
      s.x[i] = part_or_null<T>(c.in(static_cast<int>(i)), b, c.in(kX).dim(1), from, n);
    s.row = row_or_null<T>(c.in(kRow), 0, from);
    s.h0 = row_or_null<T>(c.in(kH0), b, from);
    s.starts = starts.row(b);
    return s;
  }

  ScanForm form_;
  size_t inputs_;
};

}  // namespace

ScanResult fused_scan(ScanForm form, const Tensor& x0, const Tensor& x1, const Tensor& x2, const Tensor& row,
                      const Tensor& h0, const Tensor& segments) {
  auto out = run_many(std::make_unique<FusedScanOp>(form), {x0, x1, x2, row, h0, segments});
  return {std::move(out[0]), std::move(out[1])};
}

}  // namespace effllm
