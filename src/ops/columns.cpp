#include "ops/columns.h"

#include <numeric>

#include "ops/rows.h"

namespace effllm {
namespace {

class SplitColumnsOp final : public Op {
 public:
  explicit SplitColumnsOp(std::vector<int64_t> widths) : widths_(std::move(widths)) {}
  std::string_view name() const override { return "split_columns"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(std::accumulate(widths_.begin(), widths_.end(), int64_t{0}) == in[0].cols(),
            "split_columns: the widths don't add up to {}", in[0].shape().str());
    std::vector<TensorSpec> out;
    for (int64_t w : widths_) out.push_back({in[0].shape().with(-1, w), in[0].dtype()});
    return Outputs(std::move(out));
  }
  Cost cost(std::span<const Tensor>) const override { return {}; }
  bool splits_columns() const override { return true; }
  void forward(Forward& c) override {
    int64_t from = 0;
    for (size_t i = 0; i < widths_.size(); ++i) {
      c.out(static_cast<int>(i)) = c.in(0).untracked().columns(from, widths_[i]);
      from += widths_[i];
    }
  }
  void backward(Backward&) override {}  // the tape hands the joint buffer on

 private:
  std::vector<int64_t> widths_;
};

class JoinColumnsOp final : public Op {
 public:
  std::string_view name() const override { return "join_columns"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().with(-1, in[1].cols()) == in[1].shape() && in[0].dtype() == in[1].dtype(),
            "join_columns: {} {} and {} {} have other rows", to_string(in[0].dtype()), in[0].shape().str(),
            to_string(in[1].dtype()), in[1].shape().str());
    return {{in[0].shape().with(-1, in[0].cols() + in[1].cols()), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto bytes = static_cast<double>(in[0].bytes() + in[1].bytes());
    return {0, 0, 2 * bytes, 0};
  }
  void forward(Forward& c) override {
    const int64_t first = c.in(0).cols();
    copy(c.in(0), c.out(0).columns(0, first).reshape(c.in(0).shape()));
    copy(c.in(1), c.out(0).columns(first, c.in(1).cols()).reshape(c.in(1).shape()));
  }
  void backward(Backward& c) override {
    const int64_t first = c.in_shape(0).cols();
    c.give(0, c.grad(0).columns(0, first));
    c.give(1, c.grad(0).columns(first, c.in_shape(1).cols()));
  }
};

}  // namespace

std::vector<Tensor> split_columns(const Tensor& x, const std::vector<int64_t>& widths) {
  return run_many(std::make_unique<SplitColumnsOp>(widths), {x});
}
Tensor join_columns(const Tensor& a, const Tensor& b) { return run(std::make_unique<JoinColumnsOp>(), {a, b}); }

}  // namespace effllm
