#include "autodiff/checkpoint.h"

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
    Tape::Paused pause;
    y_ = f_(in[0].untracked());
    Outputs made{{y_.shape(), y_.dtype()}};
    if (MetaMode::on()) y_ = Tensor();  // forward, which would take it, is skipped
    return made;
  }
  Cost cost(std::span<const Tensor>) const override { return {}; }  // the inner ops were counted as they ran
  Keeps keeps() const override { return {.inputs = 1}; }
  void forward(Forward& c) override { c.out(0) = std::exchange(y_, Tensor()); }
  void backward(Backward& c) override {
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
};

}  // namespace

Tensor checkpoint(std::function<Tensor(const Tensor&)> f, const Tensor& x) {
  // Nothing would lead back to this op from an untracked input, yet f's parameters need their gradients.
  if (x.slot == kUntracked) return f(x);
  return run(std::make_unique<CheckpointOp>(std::move(f)), {x});
}

}  // namespace effllm
