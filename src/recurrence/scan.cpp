#include "recurrence/scan.h"

#include "autodiff/meter.h"
#include "kernels/table.h"
#include "recurrence/column_blocks.h"
#include "recurrence/segments.h"

namespace effllm {
namespace {

enum Input { kA, kB, kH0, kSegments };

class ScanOp final : public Op {
 public:
  std::string_view name() const override { return "scan"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kA].shape();
    require(s.rank() == 3 && s[1] >= 1 && in[kB].shape() == s && is_float(in[kA].dtype()) &&
                in[kB].dtype() == in[kA].dtype(),
            "scan: a{} and b{} are not two [B, T, C] of one float type", s.str(), in[kB].shape().str());
    const Shape last{s[0], s[2]};
    require(!in[kH0].defined() || (in[kH0].shape() == last && in[kH0].dtype() == in[kA].dtype()),
            "scan: h0{} for a{}, it should be {}", in[kH0].shape().str(), s.str(), last.str());
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{s, in[kA].dtype()}, {last, in[kA].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[kA].numel()), size = static_cast<double>(size_of(in[kA].dtype()));
    return {2 * n, 3 * n, 3 * n * size, 5 * n * size};
  }
  Keeps keeps() const override { return {.inputs = 1 << kA | 1 << kH0 | 1 << kSegments, .outputs = 1}; }

  void forward(Forward& c) override {
    const int64_t tokens = c.in(kA).dim(1);
    const DocumentStarts starts(c.in(kSegments));
    dispatch_float(c.in(kA).dtype(), [&]<class T>() {
      for_column_blocks(c.in(kA).shape(), [&](int64_t b, int64_t from, int64_t n) {
        const View<T> h = part_or_null<T>(c.out(0), b, tokens, from, n);
        kernels<T>().scan(part_or_null<T>(c.in(kA), b, tokens, from, n), part_or_null<T>(c.in(kB), b, tokens, from, n),
                          row_or_null<T>(c.in(kH0), b, from), starts.row(b), h);
        std::copy_n(h.row(tokens - 1), n, row_or_null<T>(c.out(1), b, from));
      });
    });
  }

  void backward(Backward& c) override {
    const int64_t tokens = c.in(kA).dim(1);
    const DocumentStarts starts(c.in(kSegments));
    const Sink da = c.sink(kA), db = c.sink(kB), d_h0 = c.sink(kH0);
    dispatch_float(c.dtype(), [&]<class T>() {
      for_column_blocks(c.in(kA).shape(), [&](int64_t b, int64_t from, int64_t n) {
        const auto part = [&](const Tensor& t) { return part_or_null<T>(t, b, tokens, from, n); };
        kernels<T>().scan_backward(part(c.in(kA)), part(c.out(0)), row_or_null<T>(c.in(kH0), b, from), starts.row(b),
                                   part(c.grad(0)), row_or_null<T>(c.grad(1), b, from), part(da.into), da.accumulate,
                                   part(db.into), db.accumulate, row_or_null<T>(d_h0.into, b, from), d_h0.accumulate);
      });
    });
  }
};

}  // namespace

ScanResult scan(const Tensor& a, const Tensor& b, const Tensor& h0, const Tensor& segments) {
  auto out = run_many(std::make_unique<ScanOp>(), {a, b, h0, segments});
  return {std::move(out[0]), std::move(out[1])};
}

void scan_step(const Tensor& a, const Tensor& b, const Tensor& h) {
  require(a.shape().rank() == 2 && b.shape() == a.shape() && h.shape() == a.shape() && b.dtype() == a.dtype() &&
              h.dtype() == a.dtype(),
          "scan_step: a{}, b{} and h{} are not three [B, C] of one type", a.shape().str(), b.shape().str(),
          h.shape().str());
  if (Meter* m = Meter::current()) {
    const ScanOp op;
    const Tensor in[] = {a};
    m->count(op, op.cost(in));
  }
  if (MetaMode::on()) return;
  dispatch_float(a.dtype(), [&]<class T>() {
    for (int64_t r = 0; r < a.rows(); ++r) {
      const T *x = a.view<T>().row(r), *y = b.view<T>().row(r);
      T* s = h.view<T>().row(r);
      for (int64_t k = 0; k < a.cols(); ++k) s[k] = x[k] * s[k] + y[k];
    }
  });
}

}  // namespace effllm
