#include "support/fit.h"

#include "ops/arithmetic.h"
#include "optim/adamw.h"

namespace effllm::test {

double fit(BuiltMixer& m, const Tensor& x, const Tensor& target, int64_t steps, double lr) {
  OptimOptions options;
  options.lr = lr;
  options.weight_decay = 0;
  AdamW optimizer(options, {}, m.store);
  const Slab slab(m.store.slab_elements(), m.store.dtype());
  const double share = 2 / static_cast<double>(x.numel());
  for (int64_t step = 0; step < steps; ++step) {
    Ledger ledger(x.rows(), x.rows());
    Context cx;
    cx.phase = Phase::train;
    cx.step = step;
    cx.ledger = &ledger;
    ParamGrads grads = m.store.gradients(slab);
    ParamGrads::current = &grads;
    Tape tape;
    Tensor y;
    {
      const Tape::Recording recording(tape);
      y = m.mixer->forward(x, cx);
    }
    tape.backward(y, scale(add(y.untracked(), scale(target, -1)), share));
    ParamGrads::current = nullptr;
    grads.zero_unwritten();
    optimizer.step(slab, 1, 1);
    ledger.apply(m.store);
  }
  const Tensor error = add(m.forward(x), scale(target, -1));
  return dot(error, error) / static_cast<double>(x.numel());
}

}  // namespace effllm::test
