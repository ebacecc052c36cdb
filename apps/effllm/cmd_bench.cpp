#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/random.h"
#include "base/text.h"
#include "base/version.h"
#include "commands.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "shared.h"
#include "train/trainer.h"

namespace effllm::app {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

int64_t involuntary_switches() {
  rusage use{};
  getrusage(RUSAGE_SELF, &use);
  return use.ru_nivcsw;
}

double quantile(std::vector<double> v, double q) {
  std::ranges::sort(v);
  return v[static_cast<size_t>(std::llround(q * static_cast<double>(v.size() - 1)))];
}

// Random tokens: the speed of a step doesn't depend on them.
Batch random_batch(int64_t batch, int64_t tokens, int64_t vocab) {
  Batch b{.batch = batch, .tokens = tokens, .inputs = {}, .targets = {}, .segments = {}};
  const RandomStream numbers(1, "bench");
  for (int64_t i = 0; i < batch * tokens; ++i) {
    b.inputs.push_back(static_cast<int32_t>(numbers.below(static_cast<uint64_t>(2 * i), static_cast<uint64_t>(vocab))));
    b.targets.push_back(
        static_cast<int32_t>(numbers.below(static_cast<uint64_t>(2 * i + 1), static_cast<uint64_t>(vocab))));
  }
  return b;
}

// The f32 1024^3 product on all threads, each with a block of rows: one of its repetitions, in GFLOP/s.
class Probe {
 public:
  double operator()() {
    const double start = now();
    parallel_gemm<float>(false, false, n, n, n, a_.data<float>(), a_.stride(), b_.data<float>(), b_.stride(),
                         c_.data<float>(), c_.stride(), false);
    return 2e-9 * n * n * n / (now() - start);
  }

 private:
  static constexpr int64_t n = 1024;
  Tensor a_ = Tensor::full({n, n}, DType::f32, 0.5), b_ = Tensor::full({n, n}, DType::f32, 0.25),
         c_ = Tensor::zeros({n, n}, DType::f32);
};

}  // namespace

ExitCode bench_train(const Common& common, const BenchArgs& args) {
  const RunConfig c = load_run_config(args.config, args.set);
  const int64_t vocab = vocab_of(c);
  LanguageModel model(c.model, vocab);
  model.params().materialize(1, DType::f32);
  AdamW optimizer(c.optim, c.groups, model.params());
  Trainer trainer(
      model, optimizer,
      plan_shards(c.train.batch, c.train.context, c.train.lanes, c.train.shard_tokens, model.params().count()),
      {.seed = 1, .clip = c.optim.clip, .carry_state = c.train.carry_state});
  const Batch batch = random_batch(c.train.batch, c.train.context, vocab);
  const ModelCost cost = count_cost(c.model, vocab, c.train.context);
  const auto tokens = static_cast<double>(c.train.batch * c.train.context);
  // 6 per parameter and token, and the causal half of attention counted by its op: what a figure for a transformer
  // means elsewhere. Recomputation, norms and activations are not in it.
  const double flops = tokens * dense_flops_per_token(c.model, vocab, c.train.context);

  Probe probe;
  for (int i = 0; i < 3; ++i) {
    trainer.step(batch, i, 0);
    probe();
  }
  const int64_t switches = involuntary_switches();
  std::vector<double> seconds, ratios, peaks;
  const double start = now();
  for (int64_t i = 0; i < args.repetitions || now() - start < args.seconds; ++i) {
    const double before = probe();
    const double t = now();
    trainer.step(batch, 3 + i, 0);
    seconds.push_back(now() - t);
    const double peak = 0.5 * (before + probe());
    peaks.push_back(peak);
    ratios.push_back(1e-9 * flops / seconds.back() / peak);
  }
  const bool contended = static_cast<double>(involuntary_switches() - switches) > 10 * (now() - start) * threads();
  const double step = quantile(seconds, 0.5);
  const nlohmann::json j = {
      {"config", args.config},
      {"threads", threads()},
      {"isa", std::string(isa())},
      {"cpu", cpu_model()},
      {"repetitions", seconds.size()},
      {"step_ms",
       {{"median", 1e3 * step}, {"p10", 1e3 * quantile(seconds, 0.1)}, {"p90", 1e3 * quantile(seconds, 0.9)}}},
      {"tokens_per_s", tokens / step},
      {"gflops", 1e-9 * flops / step},
      {"p1024_gflops",
       {{"median", quantile(peaks, 0.5)}, {"p10", quantile(peaks, 0.1)}, {"p90", quantile(peaks, 0.9)}}},
      {"ratio", {{"median", quantile(ratios, 0.5)}, {"p10", quantile(ratios, 0.1)}, {"p90", quantile(ratios, 0.9)}}},
      {"parameters", cost.total.parameters},
      {"contended", contended}};
  if (common.json) {
    fmt::print("{}\n", j.dump());
    return ExitCode::ok;
  }
  fmt::print("{}: {} parameters, {} x {} tokens a step, {} threads, {}\n", args.config,
             human_count(static_cast<double>(cost.total.parameters)), c.train.batch, c.train.context, threads(), isa());
  fmt::print("step     {:8.2f} ms   (p10 {:.2f}, p90 {:.2f}, {} repetitions)\n", 1e3 * step,
             1e3 * quantile(seconds, 0.1), 1e3 * quantile(seconds, 0.9), seconds.size());
  fmt::print("speed    {:8.0f} tokens/s, {:.1f} GFLOP/s\n", tokens / step, 1e-9 * flops / step);
  fmt::print("P_1024   {:8.1f} GFLOP/s (p10 {:.1f}, p90 {:.1f}), the f32 1024^3 product before and after each step\n",
             quantile(peaks, 0.5), quantile(peaks, 0.1), quantile(peaks, 0.9));
  fmt::print("ratio    {:8.3f}      (p10 {:.3f}, p90 {:.3f}){}\n", quantile(ratios, 0.5), quantile(ratios, 0.1),
             quantile(ratios, 0.9), contended ? "  CONTENDED: other programs ran, don't quote this" : "");
  return ExitCode::ok;
}

}  // namespace effllm::app
