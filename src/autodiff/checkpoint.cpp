#include "autodiff/checkpoint.h"

#include <optional>
#include <utility>

#include "autodiff/meter.h"

namespace effllm {
namespace {

class CheckpointOp final : public Op {
 public:
  CheckpointOp(RunAgain f, size_t inputs) : f_(std::move(f)), inputs_(inputs) {}
  std::string_view name() const override { return "checkpoint"; }

  // The inner run needs no second one for its shape: it is done here and its results handed over in forward.
  Outputs infer(std::span<const Tensor> in) const override {
    const Meter* meter = Meter::current();
    const Cost before = meter ? meter->total : Cost();
    {
      Tape dropped;
      const Tape::Recording recording(dropped);
      std::vector<Tensor> x;
      for (size_t i = 0; i < inputs_; ++i) x.push_back(dropped.leaf(in[i]));
      y_ = f_(x);
      // What is beside the first may be a part of larger memory.
      for (size_t i = 0; i < y_.size(); ++i) y_[i] = i ? y_[i].clone() : y_[i].untracked();
    }
    if (meter) {
      again_.backward_flops = meter->total.forward_flops - before.forward_flops;
      again_.backward_bytes = meter->total.forward_bytes - before.forward_bytes;
    }
    std::vector<TensorSpec> made;
    for (const Tensor& y : y_) made.push_back({y.shape(), y.dtype()});
    if (MetaMode::on()) y_.clear();  // forward, which would take them, is skipped
    return Outputs(made);
  }
  Cost cost(std::span<const Tensor>) const override { return again_; }  // the first call's ops were counted as they ran
  Keeps keeps() const override { return {.inputs = (1U << inputs_) - 1}; }
  void forward(Forward& c) override {
    for (size_t i = 0; i < y_.size(); ++i) c.out(static_cast<int>(i)) = std::move(y_[i]);
    y_.clear();
  }
  bool runs_ops_backward() const override { return true; }
  void backward(Backward& c) override {
    std::optional<Meter> unheard;  // cost() has told
    if (Meter::current()) unheard.emplace();
    Tape tape;
    std::vector<Tensor> x, y;
    for (int i = 0; i < static_cast<int>(inputs_); ++i) x.push_back(tape.leaf(c.in(i)));
    {
      Tape::Recording recording(tape);
      y = f_(x);
    }
    std::vector<Tape::Seed> seeds;
    for (size_t i = 0; i < y.size(); ++i)
      if (const Tensor& g = c.grad(static_cast<int>(i)); g.defined()) seeds.push_back({y[i], g});
    tape.backward(seeds);
    for (int i = 0; i < static_cast<int>(inputs_); ++i)
      if (const Tensor dx = tape.grad(x[static_cast<size_t>(i)]); dx.defined() && c.wants(i)) c.give(i, dx);
  }

 private:
  RunAgain f_;
  size_t inputs_;
  mutable std::vector<Tensor> y_;
  mutable Cost again_;
};

}  // namespace

std::vector<Tensor> checkpoint(RunAgain f, const std::vector<Tensor>& x) {
  require(!x.empty() && x.size() <= kMostInputs, "checkpoint: {} inputs, not 1 to {}", x.size(), kMostInputs);
  // Nothing would lead back to this op from an untracked input, yet f's parameters need their gradients.
  if (x[0].slot == kUntracked) return f(x);
  return run_many(std::make_unique<CheckpointOp>(std::move(f), x.size()), x);
}

}  // namespace effllm
