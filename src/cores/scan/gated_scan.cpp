#include "cores/scan/gated_scan.h"

#include "autodiff/op.h"
#include "cores/common/segments.h"
#include "cores/scan/column_blocks.h"

namespace effllm {
namespace {

enum Input { kGate, kCandidate, kH0, kSegments };

class GatedScanOp final : public Op {
 public:
  explicit GatedScanOp(Candidate kind) : kind_(kind) {}
  std::string_view name() const override { return "gated_scan"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[kGate].shape();
    require(s.rank() == 3 && s[1] >= 1 && in[kCandidate].shape() == s && is_float(in[kGate].dtype()) &&
                in[kCandidate].dtype() == in[kGate].dtype(),
            "gated_scan: gate{} and candidate{} are not two [B, T, C] of one float type", s.str(),
            in[kCandidate].shape().str());
    const Shape last{s[0], s[2]};
    require(!in[kH0].defined() || (in[kH0].shape() == last && in[kH0].dtype() == in[kGate].dtype()),
            "gated_scan: h0{} for a gate{}, it should be {}", in[kH0].shape().str(), s.str(), last.str());
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{s, in[kGate].dtype()}, {last, in[kGate].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {  // an exponential with its surroundings counts 8
    const auto n = static_cast<double>(in[kGate].numel()), size = static_cast<double>(size_of(in[kGate].dtype()));
    const double gates = kind_ == Candidate::g ? 16 : 8;
    return {(gates + 3) * n, (gates + 9) * n, 3 * n * size, 6 * n * size};
  }
  Keeps keeps() const override {
    return {.inputs = 1 << kGate | 1 << kCandidate | 1 << kH0 | 1 << kSegments, .outputs = 1};
  }

  void forward(Forward& c) override {
    const int64_t tokens = c.in(kGate).dim(1);
    const DocumentStarts starts(c.in(kSegments));
    dispatch_float(c.in(kGate).dtype(), [&]<class T>() {
      for_column_blocks(c.in(kGate).shape(), [&](int64_t b, int64_t from, int64_t n) {
        const View<T> h = part_or_null<T>(c.out(0), b, tokens, from, n);
        kernels<T>().gated_scan(kind_, part_or_null<T>(c.in(kGate), b, tokens, from, n),
                                part_or_null<T>(c.in(kCandidate), b, tokens, from, n),
                                row_or_null<T>(c.in(kH0), b, from), starts.row(b), h);
        std::copy_n(h.row(tokens - 1), n, row_or_null<T>(c.out(1), b, from));
      });
    });
  }

  void backward(Backward& c) override {
    const int64_t tokens = c.in(kGate).dim(1);
    const DocumentStarts starts(c.in(kSegments));
    const Sink d_gate = c.sink(kGate), d_candidate = c.sink(kCandidate), d_h0 = c.sink(kH0);
    dispatch_float(c.dtype(), [&]<class T>() {
      for_column_blocks(c.in(kGate).shape(), [&](int64_t b, int64_t from, int64_t n) {
        const auto part = [&](const Tensor& t) { return part_or_null<T>(t, b, tokens, from, n); };
        kernels<T>().gated_scan_backward(
            kind_, {part(c.in(kGate)), part(c.in(kCandidate)), part(c.out(0)), row_or_null<T>(c.in(kH0), b, from),
                    starts.row(b), part(c.grad(0)), row_or_null<T>(c.grad(1), b, from), part(d_gate.into),
                    part(d_candidate.into), row_or_null<T>(d_h0.into, b, from), d_gate.accumulate,
                    d_candidate.accumulate, d_h0.accumulate});
      });
    });
  }

 private:
  Candidate kind_;
};

}  // namespace

ScanResult gated_scan(const Tensor& gate, const Tensor& candidate, Candidate kind, const Tensor& h0,
                      const Tensor& segments) {
  auto out = run_many(std::make_unique<GatedScanOp>(kind), {gate, candidate, h0, segments});
  return {std::move(out[0]), std::move(out[1])};
}

}  // namespace effllm
