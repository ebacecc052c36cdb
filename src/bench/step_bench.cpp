#include "bench/step_bench.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <sstream>
#include <string>

#include "base/random.h"
#include "bench/roofline.h"
#include "config/yaml.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "store/safetensors.h"

namespace effllm {
namespace {

constexpr double kTurn = 0.1;      // seconds of steps between two probes, at least
constexpr double kProgress = 0.5;  // Pass::progress of all steps

Batch structured_batch(const Objective& objective, int64_t number, int64_t batch, int64_t tokens, int64_t vocab) {
  Batch b = batch_for(batch, tokens);
  const RandomStream numbers(static_cast<uint64_t>(number) + 1, "bench");
  const auto q = static_cast<uint64_t>(vocab);
  uint64_t counter = 0;
  for (int64_t row = 0; row < batch; ++row) {
    uint64_t token = numbers.below(counter++, q);
    std::vector<int32_t> text = {static_cast<int32_t>(token)};
    for (int64_t t = 1; t < tokens + std::max<int64_t>(1, objective.lookahead()); ++t) {
      const bool jump = numbers.below(counter++, 10) == 0;
      token = jump ? numbers.below(counter++, q) : (3 * token + 7) % q;
      text.push_back(static_cast<int32_t>(token));
    }
    objective.cut({.text = text, .begin = 0, .end = tokens, .scored = 0, .document_starts = nullptr, .training = true},
                  b);
  }
  return b;
}

// Of so many exits.
double flops_with(ModelConfig model, double exits, int64_t vocab, int64_t context) {
  model.exits = exits;
  return model_flops_per_token(model, vocab, context);
}

StoredTensor stored(const char* name, const std::vector<int32_t>& all, const std::vector<int64_t>& shape) {
  return {name, StoredType::i32, shape, reinterpret_cast<const std::byte*>(all.data()), all.size() * sizeof(int32_t)};
}

}  // namespace

StepBench::StepBench(const RunConfig& config, int64_t vocab)
    : config_(config),
      model_(config.model, vocab),
      flops_(tokens() * flops_with(config.model, 0, vocab, config.train.context)),
      exit_flops_(tokens() * flops_with(config.model, 1, vocab, config.train.context) - flops_) {
  const TrainOptions& t = config_.train;
  model_.params().materialize(static_cast<uint64_t>(t.seed), DType::f32);
  objective_ = config.objective.type.build();
  optimizer_ = build_optimizer(config.optim, config.groups, model_.params());
  trainer_ = std::make_unique<Trainer>(model_, *objective_, *optimizer_, plan_shards(t, model_),
                                       StepOptions{.seed = static_cast<uint64_t>(t.seed),
                                                   .clip = config.optim.clip,
                                                   .carry_state = t.carry_state,
                                                   .recompute = t.recomputes()});
  for (int64_t i = 0; i < kBatches; ++i)
    batches_.push_back(structured_batch(*objective_, i, t.batch, t.context, vocab));
}

StepBench::Step StepBench::step() {
  const double start = seconds_now();
  const StepResult r =
      trainer_->step(batches_[static_cast<size_t>(done_ % kBatches)], done_, 1, /*continues=*/true, kProgress);
  const Step s{seconds_now() - start, r.loss, flops_at(done_)};
  if (!r.finite) throw NumericalError("step {} of the bench is not finite; lower optim.lr", done_);
  ++done_;
  return s;
}

double StepBench::flops_at(int64_t step) const {
  return flops_ + static_cast<double>(objective_->exits_at(model_.layers(), step, kProgress)) * exit_flops_;
}

void StepBench::save_inputs(const std::filesystem::path& file) const {
  std::vector<StoredTensor> all;
  std::vector<Tensor> dense;
  std::string decayed;
  const auto& parameters = model_.params().sorted();
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Parameter& p = *parameters[i];
    dense.push_back(Tensor::dense(p.shape, DType::f32));
    copy(p.value, dense.back());
    StoredTensor& t = all.emplace_back();
    t.name = p.name;
    for (int d = 0; d < p.shape.rank(); ++d) t.shape.push_back(p.shape[d]);
    t.data = dense.back().raw();
    t.bytes = static_cast<size_t>(p.shape.numel()) * sizeof(float);
    if (optimizer_->settings()[i].weight_decay > 0) decayed += (decayed.empty() ? "" : " ") + p.name;
  }
  std::vector<int32_t> inputs, targets;
  for (const Batch& b : batches_) {
    inputs.insert(inputs.end(), b.inputs.begin(), b.inputs.end());
    targets.insert(targets.end(), b.targets.begin(), b.targets.end());
  }
  const std::vector<int64_t> shape = {kBatches, config_.train.batch, config_.train.context};
  all.push_back(stored("inputs", inputs, shape));
  all.push_back(stored("targets", targets, shape));
  write_safetensors(file, std::move(all), {{"config", to_yaml(write_run_config(config_))}, {"decayed", decayed}});
}

StepTimings time_steps(StepBench& bench, double predicted_bytes, int64_t repetitions, double seconds) {
  StepTimings t;
  t.predicted_bytes = predicted_bytes;
  bench.step();
  t.first_step_s = process_age();
  for (int i = 0; i < 2; ++i) bench.step();  // warm
  t.peak_bytes = process_peak_bytes();
  const GemmProbe probe;
  for (int i = 0; i < 3; ++i) probe();
  const Neighbours neighbours;
  std::vector<double> times, rates, ratios, peaks;
  const double start = seconds_now();
  for (int64_t i = 0; i < repetitions || seconds_now() - start < seconds; ++i) {
    const double before = probe(), from = seconds_now();
    std::vector<double> turn, speeds;  // several short steps in a row: the probe has emptied their caches
    while (turn.empty() || seconds_now() - from < kTurn) {
      const StepBench::Step s = bench.step();
      turn.push_back(s.seconds);
      speeds.push_back(1e-9 * s.flops / s.seconds);
    }
    times.push_back(quantiles(turn).median);
    rates.push_back(quantiles(speeds).median);
    peaks.push_back(0.5 * (before + probe()));
    ratios.push_back(rates.back() / peaks.back());
  }
  t.seconds = quantiles(times);
  t.gflops = quantiles(rates);
  t.p1024 = quantiles(peaks);
  t.ratio = quantiles(ratios);
  t.repetitions = times.size();
  t.contended = neighbours.contended(threads());
  return t;
}

double process_age() {
  std::ifstream stat("/proc/self/stat"), up("/proc/uptime");
  std::string text((std::istreambuf_iterator<char>(stat)), {});
  std::istringstream after(text.substr(text.rfind(')') + 1));  // field 3 on
  std::string field;
  double started = 0, uptime = 0;
  for (int i = 3; i < 22; ++i) after >> field;
  after >> started;
  up >> uptime;
  return uptime - started / static_cast<double>(sysconf(_SC_CLK_TCK));
}

// VmHWM: getrusage's figure would begin with that of the process which started this one.
double process_peak_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return 1024 * std::stod(line.substr(6));
  return 0;
}

}  // namespace effllm
