#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <optional>

#include "autodiff/meter.h"
#include "autodiff/profile.h"
#include "kernels/parallel.h"
#include "train/expert_gradients.h"

namespace effllm {

Trainer::Trainer(LanguageModel& model, const Objective& objective, Optimizer& optimizer, ShardPlan plan,
                 const StepOptions& options)
    : model_(model),
      objective_(objective),
      optimizer_(optimizer),
      plan_(std::move(plan)),
      options_(options),
      exchange_(model.params(), plan_.lanes.size()) {
  const Shard& last = plan_.lanes.back().back();
  if (options_.carry_state) carried_.emplace(model, last.first + last.sequences, options_.carried_tokens);
  on_workers([&](int) { BufferPool::local().prepare(options_.buffers); });
}

// A single lane leaves the threads to the operations themselves.
template <class F>
void Trainer::on_workers(F&& work) {
  const auto lanes = static_cast<int>(plan_.lanes.size());
  lanes > 1 ? run_workers(std::min(lanes, threads()), work) : work(0);
}

void Trainer::run_shard(const Batch& batch, const Shard& shard, int64_t step, double weight, LaneSums& sums) {
  const BatchRows rows = batch.rows(shard.first, shard.sequences);
  Context cx;
  cx.phase = Phase::train;
  cx.recompute = options_.recompute;
  cx.seed = options_.seed;
  cx.step = step;
  cx.progress = progress_;
  cx.samples = batch.first_sample + shard.first;
  cx.ledger = &sums.ledger;

  State state;
  if (carried_) state = carried_->take(shard);
  Tape tape;
  {
    const Tape::Recording recording(tape);
    const Tensor y = objective_.loss(model_, rows, weight, cx, carried_ ? &state : nullptr);
    sums.loss += *y.data<double>();
    Tensor one = Tensor::full({1}, DType::f64, 1);
    tape.backward(y, std::move(one));
  }
  if (carried_) carried_->put(shard, state);
}

// Its shards add up in order.
void Trainer::run_lane(size_t lane, const Batch& batch, int64_t step, int64_t targets) {
  struct Current {
    explicit Current(ParamGrads& g) { ParamGrads::current = &g; }
    ~Current() { ParamGrads::current = nullptr; }
    BufferPool::Lending lending = BufferPool::Lending();  // samples that a layer leaves out, caches that are not full
  };
  LaneSums& sums = exchange_.lane(lane);
  sums.loss = 0;
  sums.ledger = Ledger(targets, batch.batch * batch.tokens);
  sums.parameters.reset();
  const Current current(sums.parameters);
  for (const Shard& s : plan_.lanes[lane])
    run_shard(batch, s, step, targets ? 1.0 / static_cast<double>(targets) : 0, sums);
  sums.parameters.zero_unwritten();
}

void Trainer::run_lanes(const Batch& batch, int64_t step, int64_t targets) {
  const auto lanes = static_cast<int>(plan_.lanes.size());
  std::atomic<int> next{0};
  std::atomic<size_t> peak{0};
  on_workers([&](int) {
    for (int lane = next++; lane < lanes; lane = next++) run_lane(static_cast<size_t>(lane), batch, step, targets);
    peak += BufferPool::local().peak_bytes();
  });
  peak_bytes_ = std::max(peak_bytes_, peak.load());
}

StepResult Trainer::step(const Batch& batch, int64_t step, double lr_factor, bool continues, double progress) {
  progress_ = progress;
  if (carried_) carried_->begin(continues);
  StepResult r{.loss = 0, .grad_norm = 0, .tokens = batch.batch * batch.tokens, .targets = batch.counted()};
  std::optional<TransposedWeights::Fresh> fresh;
  if (TransposedWeights::pay(r.tokens)) {
    const Profile::Span span("transpose weights", "", Way::phase);
    if (!transposed_) transposed_ = std::make_unique<TransposedWeights>(model_.params());
    fresh.emplace(*transposed_);
  }
  run_lanes(batch, step, r.targets);
  fresh.reset();
  const StepSums sums = exchange_.meet();
  r.loss = sums.loss;
  r.grad_norm = sums.norm;
  r.rows = sums.ledger.rows();
  r.finite = std::isfinite(r.loss) && std::isfinite(r.grad_norm);
  if (!r.finite) {
    if (carried_) carried_->leave_out();
    return r;
  }
  if (carried_) carried_->keep();
  if (r.targets == 0) return r;
  const double scale = options_.clip > 0 && r.grad_norm > options_.clip ? options_.clip / (r.grad_norm + 1e-6) : 1;
  const Profile::Span span("optimizer", "", Way::phase, optimizer_.flops(), optimizer_.pass_bytes());
  optimizer_.step(sums.gradient, scale, lr_factor);
  sums.ledger.apply(model_.params());
  return r;
}

void Trainer::find_nonfinite(const Batch& batch, int64_t step) {
  const NanWatch watch(step);
  if (carried_) carried_->begin(true);
  for (size_t i = 0; i < plan_.lanes.size(); ++i) {
    run_lane(i, batch, step, batch.counted());
    const std::vector<Tensor>& gradients = exchange_.lane(i).parameters.views;
    for (size_t p = 0; p < gradients.size(); ++p)
      watch.check("backward", model_.params().sorted()[p]->name, "a parameter gradient", gradients[p]);
  }
}

std::vector<Measured> Trainer::expert_gradients() {
  return effllm::expert_gradients(model_.params(), &exchange_.lane(0).gradient);  // where those of all lanes met
}

std::vector<NamedTensor> Trainer::carried() const {
  return carried_ ? named_tensors(carried_->rows()) : std::vector<NamedTensor>();
}

}  // namespace effllm
