#include "bench/op_bench.h"

#include <atomic>
#include <thread>

#include "autodiff/meter.h"
#include "bench/roofline.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr int kWarm = 2, kProbes = 5;

struct Samples {
  std::vector<double> forward, backward, whole, step;
  void take(const Samples& o) {
    forward.insert(forward.end(), o.forward.begin(), o.forward.end());
    backward.insert(backward.end(), o.backward.begin(), o.backward.end());
    whole.insert(whole.end(), o.whole.begin(), o.whole.end());
    step.insert(step.end(), o.step.begin(), o.step.end());
  }
};

// One call with its gradient; the tape is fresh each time, as in a shard.
void call(const BenchWork& w, Samples* samples) {
  Tape tape;
  const double start = seconds_now();
  Tensor y;
  {
    const Tape::Recording recording(tape);
    y = w.run(tape.leaf(w.input));
  }
  const double middle = seconds_now();
  if (w.gradients) w.gradients->reset();
  if (y.slot >= 0) tape.backward(y, y.untracked());
  if (!samples) return;
  const double end = seconds_now();
  samples->forward.push_back(middle - start);
  samples->backward.push_back(end - middle);
  samples->whole.push_back(end - start);
}

Samples work_for(const BenchCase& c, double seconds, Cost* cost) {
  const BenchWork w = c.prepare();
  ParamGrads::current = w.gradients.get();
  Samples s;
  for (int i = 0; i < kWarm; ++i) {
    Meter meter;
    call(w, nullptr);
    if (cost && meter.total.forward_bytes > 0) *cost = meter.total;
  }
  const double start = seconds_now();
  while (seconds_now() - start < seconds || s.forward.size() < 3) call(w, &s);
  ParamGrads::current = nullptr;
  if (!w.step) return s;
  for (int i = 0; i < 64; ++i) {
    const double t = seconds_now();
    w.step();
    s.step.push_back(seconds_now() - t);
  }
  return s;
}

}  // namespace

BenchRow run_case(const BenchCase& c, double seconds) {
  const int n = threads();
  const GemmProbe probe;
  std::vector<double> peaks;
  for (int i = 0; i < kProbes; ++i) peaks.push_back(probe());
  std::vector<Samples> all(static_cast<size_t>(n));
  Cost cost = c.cost;
  run_workers(
      n, [&](int worker) { all[static_cast<size_t>(worker)] = work_for(c, seconds, worker == 0 ? &cost : nullptr); });
  for (int i = 0; i < kProbes; ++i) peaks.push_back(probe());

  BenchRow row;
  row.name = c.name;
  row.shape = c.shape;
  row.tokens = c.tokens * n;
  for (int i = 0; i < n; ++i) row.cost += cost;
  Samples together;
  for (const Samples& s : all) together.take(s);
  row.forward_s = quantiles(together.forward).median;
  row.backward_s = quantiles(together.backward).median;
  row.whole_s = quantiles(together.whole);
  row.step_s = quantiles(together.step).median;
  row.p1024 = quantiles(peaks).median;
  return row;
}

}  // namespace effllm
