#include "autodiff/checkpoint.h"

#include <optional>
#include <utility>

#include "autodiff/meter.h"

namespace effllm {
namespace {

class CheckpointOp final : public Op {
 public:
  explicit CheckpointOp(std::function<Tensor(const Tensor&)> f) : f_(std::move(f)) {}
  std::string_view name() const override { return "checkpoint"; }

  // The inner run needs no second one for its shape: it is done here and its result handed over in forward.
  Outputs infer(std::span<const Tensor> in) const override {
    const Meter* meter = Meter::current();
    const Cost before = meter ? meter->total : Cost();
    {
      Tape dropped;
      const Tape::Recording recording(dropped);
      y_ = f_(dropped.leaf(in[0])).untracked();
    }
    if (meter) {
      again_.backward_flops = meter->total.forward_flops - before.forward_flops;
      again_.backward_bytes = meter->total.forward_bytes - before.forward_bytes;
    }
    Outputs made{{y_.shape(), y_.dtype()}};
    if (MetaMode::on()) y_ = Tensor();  // forward, which would take it, is skipped
    return made;
  }
  Cost cost(std::span<const Tensor>) const override { return again_; }  // the first call's ops were counted as they ran
  Keeps keeps() const override { return {.inputs = 1}; }
  void forward(Forward& c) override { c.out(0) = std::exchange(y_, Tensor()); }
  bool runs_ops_backward() const override { return true; }
  void backward(Backward& c) override {
    std::optional<Meter> unheard;  // cost() has told
    if (Meter::current()) unheard.emplace();
    Tape tape;
    Tensor x = tape.leaf(c.in(0)), y;
    {
      Tape::Recording recording(tape);
      y = f_(x);
    }
    tape.backward(y, c.grad(0));
    if (const Tensor dx = tape.grad(x); dx.defined() && c.wants(0)) c.give(0, dx);
  }

 private:
  std::function<Tensor(const Tensor&)> f_;
  mutable Tensor y_;
  mutable Cost again_;
};

}  // namespace

Tensor checkpoint(std::function<Tensor(const Tensor&)> f, const Tensor& x) {
  // Nothing would lead back to this op from an untracked input, yet f's parameters need their gradients.
  if (x.slot == kUntracked) return f(x);
  return run(std::make_unique<CheckpointOp>(std::move(f)), {x});
}

}  // namespace effllm
