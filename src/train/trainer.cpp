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

// Sequences [from, from + n) of a carried tensor, as a view that counts nothing: workers may hold it.
Tensor rows_of(const Tensor& t, int64_t from, int64_t n) {
  const int64_t each = t.shape().rank() == 1 ? 1 : t.rows() / t.dim(0) * t.stride();  // elements of one
  return Tensor::view_of(t.raw() + static_cast<size_t>(from * each) * size_of(t.dtype()), t.shape().with(0, n),
                         t.dtype(), t.stride());
}

}  // namespace

void require_carriable(const StateSpec& spec) {
  for (const auto& f : spec.fields)
    if (f.growth == Growth::per_token)
      throw ConfigError("train.carry_state: the state `{}` grows with every token; give attention a `window`", f.name);
}

void require_carriable(const LanguageModel& model) {
  for (int64_t i = 0; i < model.layers(); ++i) {
    require_carriable(model.block(i).mixer().state_spec(1));
    if (const auto* ffn = model.block(i).ffn()) require_carriable(ffn->state_spec(1));
  }
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

  ModelState state;
  if (options_.carry_state) {
    state.seen = rows_of(carried_.seen, shard.first, shard.sequences);
    for (const auto& b : carried_.blocks) {
      auto& mine = state.blocks.emplace_back();
      for (auto [all, part] : {std::pair{&b.mixer, &mine.mixer}, std::pair{&b.ffn, &mine.ffn}}) {
        for (const Tensor& f : all->fields) part->fields.push_back(rows_of(f, shard.first, shard.sequences));
        part->names = all->names;
        part->seen = rows_of(all->seen, shard.first, shard.sequences);
      }
    }
  }
  Tape tape;
  double loss;
  {
    const Tape::Recording recording(tape);
    const Tensor y = model_.loss(ids, targets, weight, cx, options_.carry_state ? &state : nullptr);
    loss = *y.data<double>();
    Tensor one = Tensor::full({1}, DType::f64, 1);
    tape.backward(y, std::move(one));
  }
  if (options_.carry_state)
    for (size_t i = 0; i < carried_.blocks.size(); ++i)
      for (auto [all, part] : {std::pair{&carried_.blocks[i].mixer, &state.blocks[i].mixer},
                               std::pair{&carried_.blocks[i].ffn, &state.blocks[i].ffn}})
        for (auto now = part->fields.cbegin(); const Tensor& f : all->fields) {
          const Tensor into = rows_of(f, shard.first, shard.sequences), &after = *now++;
          if (after.raw() != into.raw()) copy(after, into);
        }
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
  if (options_.carry_state && carried_.blocks.empty()) prepare_carried(batch.batch);
  const int64_t counted = batch.counted();
  StepResult r{.loss = 0, .grad_norm = 0, .tokens = batch.batch * batch.tokens, .finite = true};
  remember_carried();
  if (!continues) forget();
  std::optional<TransposedWeights::Fresh> fresh;
  if (TransposedWeights::pay(r.tokens)) {
    const Profile::Span span("transpose weights", "", Way::phase);
    if (!transposed_) transposed_ = std::make_unique<TransposedWeights>(model_.params());
    fresh.emplace(*transposed_);
  }
  try {
    run_lanes(batch, step, counted ? 1.0 / static_cast<double>(counted) : 0);
  } catch (...) {
    restore_carried();
    throw;
  }
  fresh.reset();
  for (double l : lane_loss_) r.loss += l;
  r.grad_norm = dispatch_float(model_.params().dtype(), [&]<class T>() { return reduce<T>(); });
  r.finite = std::isfinite(r.loss) && std::isfinite(r.grad_norm);
  if (!r.finite) {
    continues ? restore_carried() : forget();
    return r;
  }
  const double scale = options_.clip > 0 && r.grad_norm > options_.clip ? options_.clip / (r.grad_norm + 1e-6) : 1;
  const Profile::Span span("optimizer", "", Way::phase, optimizer_.flops(), optimizer_.pass_bytes());
  optimizer_.step(*gradients_[0], scale, lr_factor);
  return r;
}

void Trainer::find_nonfinite(const Batch& batch, int64_t step) {
  const NanWatch watch(step);
  const double weight = 1.0 / static_cast<double>(std::max<int64_t>(1, batch.counted()));
  if (options_.carry_state && carried_.blocks.empty()) prepare_carried(batch.batch);
  remember_carried();
  struct Restore {
    Trainer& trainer;
    ~Restore() { trainer.restore_carried(); }
  } const restore{*this};
  for (size_t i = 0; i < plan_.lanes.size(); ++i) {
    run_lane(i, batch, step, weight);
    for (size_t p = 0; p < lanes_[i].views.size(); ++p)
      watch.check("backward", model_.params().sorted()[p]->name, "a parameter gradient", lanes_[i].views[p]);
  }
}

void Trainer::remember_carried() {
  carried_before_.resize(carried_memory_.size());
  for (size_t i = 0; i < carried_memory_.size(); ++i) {
    const Slab& m = *carried_memory_[i];
    carried_before_[i].assign(m.raw(), m.raw() + static_cast<size_t>(m.elements()) * size_of(m.dtype()));
  }
}

void Trainer::restore_carried() {
  for (size_t i = 0; i < carried_before_.size(); ++i) std::ranges::copy(carried_before_[i], carried_memory_[i]->raw());
}

void Trainer::prepare_carried(int64_t rows) {
  const auto make = [&](const StateSpec& spec) {
    MixerState s{.fields = {}, .names = names_of(spec)};
    require_carriable(spec);
    for (const auto& f : spec.fields) {
      const Shape shape = f.shape.with_first(rows);
      carried_memory_.push_back(std::make_unique<Slab>(shape.numel(), model_.params().dtype()));
      s.fields.push_back(Tensor::view_of(carried_memory_.back()->raw(), shape, model_.params().dtype(), shape.cols()));
    }
    carried_memory_.push_back(std::make_unique<Slab>(rows, DType::i64));
    s.seen = Tensor::view_of(carried_memory_.back()->raw(), {rows}, DType::i64, rows);
    return s;
  };
  for (int64_t i = 0; i < model_.layers(); ++i)
    carried_.blocks.push_back(
        {make(model_.block(i).mixer().state_spec(options_.carried_tokens)),
         make(model_.block(i).ffn() ? model_.block(i).ffn()->state_spec(options_.carried_tokens) : StateSpec{})});
  carried_memory_.push_back(std::make_unique<Slab>(rows, DType::i64));
  carried_.seen = Tensor::view_of(carried_memory_.back()->raw(), {rows}, DType::i64, rows);
}

std::vector<NamedTensor> Trainer::carried() const {
  return carried_.blocks.empty() ? std::vector<NamedTensor>() : named_tensors(model_, carried_);
}

void Trainer::forget() {
  for (const auto& m : carried_memory_)
    std::fill_n(m->raw(), static_cast<size_t>(m->elements()) * size_of(m->dtype()), std::byte{0});
}

}  // namespace effllm
