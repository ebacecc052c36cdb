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
#include "kernels/table.h"

namespace effllm {
namespace {

constexpr int64_t kBlock = 16384;  // elements added at a time; the norm's partial sums follow these blocks

}  // namespace

void require_carriable(const LanguageModel& model) {
  for (const StateField* f : model.site().all())
    if (f->growth == Growth::per_token)
      throw ConfigError("train.carry_state: the state `{}` grows with every token; give attention a `window`", f->name);
}

Trainer::Trainer(LanguageModel& model, Optimizer& optimizer, ShardPlan plan, const StepOptions& options)
    : model_(model), optimizer_(optimizer), plan_(std::move(plan)), options_(options) {
  for (size_t i = 0; i < plan_.lanes.size(); ++i) {
    gradients_.push_back(std::make_unique<Slab>(model.params().slab_elements(), model.params().dtype()));
    lanes_.push_back(model.params().gradients(*gradients_.back()));
  }
  lane_loss_.resize(plan_.lanes.size());
}

double Trainer::run_shard(const Batch& batch, const Shard& shard, int64_t step, double weight) {
  const auto from = static_cast<size_t>(shard.first * batch.tokens),
             n = static_cast<size_t>(shard.sequences * batch.tokens);
  const Shape shape{shard.sequences, batch.tokens};
  const Tensor ids = Tensor::view_of(std::span(batch.inputs).subspan(from, n), shape);
  const Tensor targets = Tensor::view_of(std::span(batch.targets).subspan(from, n), shape);
  Tensor segments;
  if (!batch.segments.empty()) segments = Tensor::view_of(std::span(batch.segments).subspan(from, n), shape);
  Context cx;
  cx.phase = Phase::train;
  cx.recompute = options_.recompute;
  cx.when = {.seed = options_.seed, .step = step, .first_sample = batch.first_sample + shard.first};
  cx.segments = segments.defined() ? &segments : nullptr;

  State state;
  if (options_.carry_state) state = start_->rows(shard.first, shard.sequences);
  Tape tape;
  double loss;
  {
    const Tape::Recording recording(tape);
    const Tensor y = model_.loss(ids, targets, weight, cx, options_.carry_state ? &state : nullptr);
    loss = *y.data<double>();
    Tensor one = Tensor::full({1}, DType::f64, 1);
    tape.backward(y, std::move(one));
  }
  if (options_.carry_state) next_.rows(shard.first, shard.sequences).put(state);
  return loss;
}

// Fills the lane's gradients; returns the sum of its shards' losses.
double Trainer::run_lane(size_t lane, const Batch& batch, int64_t step, double weight) {
  struct Current {
    explicit Current(ParamGrads& g) { ParamGrads::current = &g; }
    ~Current() { ParamGrads::current = nullptr; }
  };
  lanes_[lane].reset();
  const Current current(lanes_[lane]);
  double loss = 0;
  for (const Shard& s : plan_.lanes[lane]) loss += run_shard(batch, s, step, weight);
  lanes_[lane].zero_unwritten();
  return loss;
}

void Trainer::run_lanes(const Batch& batch, int64_t step, double weight) {
  const auto lanes = static_cast<int>(plan_.lanes.size());
  std::atomic<int> next{0};
  std::atomic<size_t> peak{0};
  const auto work = [&](int) {
    for (int lane = next++; lane < lanes; lane = next++) {
      const auto i = static_cast<size_t>(lane);
      lane_loss_[i] = run_lane(i, batch, step, weight);
    }
    peak += BufferPool::local().peak_bytes();
  };
  // A single lane leaves the threads to the operations themselves.
  if (const int n = std::min(lanes, threads()); lanes > 1)
    run_workers(n, work);
  else
    work(0);
  peak_bytes_ = std::max(peak_bytes_, peak.load());
}

template <class T>
double Trainer::reduce() {
  const int64_t n = gradients_[0]->elements();
  const Profile::Span span("add lanes, norm", "", Way::phase, 0,
                           static_cast<double>(static_cast<size_t>(n) * gradients_.size() * sizeof(T)));
  std::vector<double> squares(static_cast<size_t>((n + kBlock - 1) / kBlock));
  const auto& k = kernels<T>();
  parallel_for(n, kBlock, [&](int64_t from, int64_t to) {
    const auto part = [&](size_t lane) {
      return View<T>{gradients_[lane]->template data<T>() + from, 1, to - from, to - from};
    };
    for (size_t step = 1; step < gradients_.size(); step *= 2)
      for (size_t i = 0; i + step < gradients_.size(); i += 2 * step) k.sum(part(i), part(i + step), part(i));
    squares[static_cast<size_t>(from / kBlock)] = k.sum_of_squares(part(0).data, to - from);
  });
  double total = 0;
  for (double s : squares) total += s;
  return std::sqrt(total);
}

StepResult Trainer::step(const Batch& batch, int64_t step, double lr_factor, bool continues) {
  begin_rows(batch.batch, continues);
  const int64_t counted = batch.counted();
  StepResult r{.loss = 0, .grad_norm = 0, .tokens = batch.batch * batch.tokens, .finite = true};
  std::optional<TransposedWeights::Fresh> fresh;
  if (TransposedWeights::pay(r.tokens)) {
    const Profile::Span span("transpose weights", "", Way::phase);
    if (!transposed_) transposed_ = std::make_unique<TransposedWeights>(model_.params());
    fresh.emplace(*transposed_);
  }
  run_lanes(batch, step, counted ? 1.0 / static_cast<double>(counted) : 0);
  fresh.reset();
  for (double l : lane_loss_) r.loss += l;
  r.grad_norm = dispatch_float(model_.params().dtype(), [&]<class T>() { return reduce<T>(); });
  r.finite = std::isfinite(r.loss) && std::isfinite(r.grad_norm);
  if (!r.finite) {
    if (!continues) forget(carried_);
    return r;
  }
  std::swap(carried_, next_);
  const double scale = options_.clip > 0 && r.grad_norm > options_.clip ? options_.clip / (r.grad_norm + 1e-6) : 1;
  const Profile::Span span("optimizer", "", Way::phase, optimizer_.flops(), optimizer_.pass_bytes());
  optimizer_.step(*gradients_[0], scale, lr_factor);
  return r;
}

void Trainer::find_nonfinite(const Batch& batch, int64_t step) {
  const NanWatch watch(step);
  const double weight = 1.0 / static_cast<double>(std::max<int64_t>(1, batch.counted()));
  begin_rows(batch.batch, true);
  for (size_t i = 0; i < plan_.lanes.size(); ++i) {
    run_lane(i, batch, step, weight);
    for (size_t p = 0; p < lanes_[i].views.size(); ++p)
      watch.check("backward", model_.params().sorted()[p]->name, "a parameter gradient", lanes_[i].views[p]);
  }
}

void Trainer::prepare_carried(int64_t rows) {
  require_carriable(model_);
  const auto make = [&](const Shape& shape, DType type) {
    const Slab& memory = *carried_memory_.emplace_back(std::make_unique<Slab>(shape.numel(), type));
    return Tensor::view_of(memory.raw(), shape, type, shape.cols());
  };
  for (State* s : {&carried_, &next_}) *s = model_.make_state(rows, options_.carried_tokens, make);
}

void Trainer::begin_rows(int64_t rows, bool continues) {
  if (!options_.carry_state) return;
  if (carried_memory_.empty()) prepare_carried(rows);
  if (!continues) forget(next_);
  start_ = continues ? &carried_ : &next_;
}

std::vector<NamedTensor> Trainer::carried() const { return named_tensors(carried_); }

void Trainer::forget(const State& rows) {
  rows.each([](const StateField&, const Tensor& t) { std::fill_n(t.raw(), t.bytes(), std::byte{0}); });
}

}  // namespace effllm
