#include <fmt/format.h>

#include <iostream>

#include "base/json.h"
#include "base/text.h"
#include "base/version.h"
#include "bench/op_bench.h"
#include "bench/roofline.h"
#include "bench/step_bench.h"
#include "bench_output.h"
#include "commands.h"
#include "json_output.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "kernels/prepare.h"
#include "model/describe.h"
#include "shared.h"
#include "store/file.h"
#include "train/memory_plan.h"
#include "train/preflight.h"

namespace effllm::app {
namespace {

constexpr int kProfiledSteps = 5;

nlohmann::json to_json(const Quantiles& q) { return {{"median", q.median}, {"p10", q.p10}, {"p90", q.p90}}; }

nlohmann::json to_json(const Roofline& r) {
  nlohmann::json j = {
      {"cpu", cpu_model()},         {"isa", std::string(isa())},          {"threads", r.threads},
      {"fma_gflops", r.fma},        {"p1024_gflops", to_json(r.p1024)},   {"best_gflops", r.best},
      {"best_shape", r.best_shape}, {"triad_gb_per_s", r.triad_gb_per_s}, {"barrier_us", to_json(r.barrier_us)},
      {"contended", r.contended}};
  for (const Bandwidth& b : r.read) j["read"].push_back({{"bytes", b.bytes}, {"gb_per_s", b.read_gb_per_s}});
  return j;
}

std::string number(double v, const char* format = "{:.1f}") {
  return v > 0 ? fmt::format(fmt::runtime(format), v) : "-";
}

Rows profile_rows(const std::vector<Profile::Row>& profile, double thread_seconds, double steps) {
  Rows rows = {{"op", "way", "calls a step", "ms a step", "share", "GFLOP/s", "GB/s"}};
  double spent = 0;
  for (const Profile::Row& r : profile) {
    spent += r.seconds;
    rows.push_back({r.name, std::string(to_string(r.way)), fmt::format("{:.0f}", static_cast<double>(r.calls) / steps),
                    fmt::format("{:.3f}", 1e3 * r.seconds / steps),
                    fmt::format("{:.1f} %", 100 * r.seconds / thread_seconds), number(1e-9 * r.flops / r.seconds),
                    number(1e-9 * r.bytes / r.seconds)});
  }
  rows.push_back({"outside of ops", "", "", fmt::format("{:.3f}", 1e3 * (thread_seconds - spent) / steps),
                  fmt::format("{:.1f} %", 100 * (thread_seconds - spent) / thread_seconds), "", ""});
  return rows;
}

// For a program that trains the same model and takes turns with this one. Lines on stdin: `steps N`, or `probe` for
// P_1024; each is answered by a line of JSON.
ExitCode follow(StepBench& bench) {
  const GemmProbe probe;
  for (std::string word; std::cin >> word;) {
    nlohmann::json j;
    int64_t n = 0;
    if (word == "probe") {
      std::vector<double> rates;
      for (int i = 0; i < 5; ++i) rates.push_back(probe());
      j["p1024_gflops"] = quantiles(rates).median;
    } else if (word == "steps") {
      if (!(std::cin >> n) || n < 1) throw ConfigError("--follow: `steps` takes a number above 0");
      double flops = 0;
      for (int64_t i = 0; i < n; ++i) {
        const StepBench::Step s = bench.step();
        j["losses"].push_back(s.loss);
        j["seconds"].push_back(s.seconds);
        flops += s.flops / static_cast<double>(n);
      }
      j["flops"] = flops;  // of a step, in the mean
      j["age_s"] = process_age();
      j["peak_bytes"] = process_peak_bytes();
    } else {
      throw ConfigError("--follow understands `steps N` and `probe`, not `{}`", printable(word));
    }
    print_json(j);
    std::fflush(stdout);
  }
  return ExitCode::ok;
}

void print_step(const BenchArgs& args, const RunConfig& c, const StepBench& bench, const StepTimings& t) {
  fmt::print("{}: {}, {} x {} a step, {}, {}\n", args.config,
             human_counted(static_cast<double>(bench.parameters()), "parameter"), c.train.batch,
             counted(c.train.context, "token"), counted(threads(), "thread"), isa());
  fmt::print("step     {:8.2f} ms   (p10 {:.2f}, p90 {:.2f}, {})\n", 1e3 * t.seconds.median, 1e3 * t.seconds.p10,
             1e3 * t.seconds.p90, counted(t.repetitions, "repetition"));
  fmt::print("speed    {:8.0f} tokens/s, {:.1f} GFLOP/s\n", bench.tokens() / t.seconds.median, t.gflops.median);
  fmt::print("P_1024   {:8.1f} GFLOP/s (p10 {:.1f}, p90 {:.1f}), the f32 1024^3 product before and after each step\n",
             t.p1024.median, t.p1024.p10, t.p1024.p90);
  fmt::print("ratio    {:8.3f}      (p10 {:.3f}, p90 {:.3f}){}\n", t.ratio.median, t.ratio.p10, t.ratio.p90,
             t.contended ? fmt::format("  {}", kContended) : "");
  fmt::print("memory   {:>11} at most, {} predicted\n", human_bytes(t.peak_bytes), human_bytes(t.predicted_bytes));
  fmt::print("start    {:8.2f} s from the start of the process to the end of the first step\n", t.first_step_s);
}

Rows step_rows(const BenchArgs& args, const StepBench& bench, const StepTimings& t) {
  return {
      {"config", "threads", "ms", "p10", "p90", "tokens/s", "GFLOP/s", "P_1024", "ratio", "peak MB", "first step s"},
      {args.config, fmt::format("{}", threads()), fmt::format("{:.2f}", 1e3 * t.seconds.median),
       fmt::format("{:.2f}", 1e3 * t.seconds.p10), fmt::format("{:.2f}", 1e3 * t.seconds.p90),
       fmt::format("{:.0f}", bench.tokens() / t.seconds.median), fmt::format("{:.1f}", t.gflops.median),
       fmt::format("{:.1f}", t.p1024.median), fmt::format("{:.3f}", t.ratio.median),
       fmt::format("{:.0f}", 1e-6 * t.peak_bytes), fmt::format("{:.2f}", t.first_step_s)}};
}

ExitCode print_cases(const Common& common, const BenchFormat& format, const std::vector<BenchCase>& cases,
                     double seconds, const std::string& only) {
  std::vector<const BenchCase*> chosen;
  for (const BenchCase& c : cases)
    if (c.name.find(only) != std::string::npos) chosen.push_back(&c);
  if (chosen.empty()) throw ConfigError("nothing to measure is called like `{}`", only);
  const Neighbours neighbours;
  const bool steps = cases.front().prepare().step != nullptr;
  Rows rows = {{"name", "shape", "forward ns/token", "backward ns/token", "forward GFLOP/s", "backward GFLOP/s",
                "both / P_1024", "p10", "p90", "forward GB/s", "backward GB/s"}};
  if (steps) rows[0].push_back("step us");
  nlohmann::json j = {{"cpu", cpu_model()}, {"isa", std::string(isa())}, {"threads", threads()}};
  for (const BenchCase* c : chosen) {
    const BenchRow r = run_case(*c, seconds);
    rows.push_back({r.name, r.shape, number(1e9 * r.forward_s / r.tokens, "{:.0f}"),
                    number(1e9 * r.backward_s / r.tokens, "{:.0f}"), number(r.forward_gflops()),
                    number(r.backward_gflops()), fmt::format("{:.2f}", r.ratio().median),
                    fmt::format("{:.2f}", r.ratio().p10), fmt::format("{:.2f}", r.ratio().p90),
                    number(1e-9 * r.cost.forward_bytes / r.forward_s),
                    number(1e-9 * r.cost.backward_bytes / r.backward_s)});
    if (steps) rows.back().push_back(number(1e6 * r.step_s));
    j["rows"].push_back({{"name", r.name},
                         {"shape", r.shape},
                         {"forward_ns_per_token", 1e9 * r.forward_s / r.tokens},
                         {"backward_ns_per_token", 1e9 * r.backward_s / r.tokens},
                         {"step_us", r.step_s > 0 ? nlohmann::json(1e6 * r.step_s) : nlohmann::json()},
                         {"forward_gflops", r.forward_gflops()},
                         {"backward_gflops", r.backward_gflops()},
                         {"p1024_gflops", r.p1024},
                         {"ratio", to_json(r.ratio())}});
    if (!common.json && !common.quiet) fmt::print(stderr, "{} ({:.2f} of P_1024)\n", r.name, r.ratio().median);
  }
  j["contended"] = neighbours.contended(threads());
  if (common.json) {
    print_json(j);
    return ExitCode::ok;
  }
  print(rows, format);
  if (neighbours.contended(threads())) note(kContended, format);
  return ExitCode::ok;
}

}  // namespace

ExitCode bench_train(const Common& common, const BenchArgs& args) {
  prepare_threads();
  const RunConfig c = load_run_config(args.config, args.set);
  const int64_t vocab = vocab_of(c);
  StepBench bench(c, vocab);
  if (!args.save_inputs.empty()) bench.save_inputs(args.save_inputs);
  if (args.follow) return follow(bench);
  const StepTimings t =
      time_steps(bench, step_bytes(c, vocab, threads(), StepBench::kBatches), args.repetitions, args.seconds);

  std::vector<Profile::Row> profiled;
  double profiled_seconds = 0;
  if (args.profile || !args.trace.empty()) {
    Profile profile;
    const double start = seconds_now();
    for (int i = 0; i < kProfiledSteps; ++i) bench.step();
    profiled_seconds = (seconds_now() - start) * threads();
    profiled = profile.rows();
    if (!args.trace.empty()) write_file_atomic(args.trace, profile.chrome_trace());
  }
  if (common.json) {
    nlohmann::json j = {{"config", args.config},
                        {"threads", threads()},
                        {"isa", std::string(isa())},
                        {"cpu", cpu_model()},
                        {"repetitions", t.repetitions},
                        {"seconds", to_json(t.seconds)},
                        {"tokens_per_s", bench.tokens() / t.seconds.median},
                        {"gflops", t.gflops.median},
                        {"p1024_gflops", to_json(t.p1024)},
                        {"ratio", to_json(t.ratio)},
                        {"parameters", bench.parameters()},
                        {"peak_bytes", t.peak_bytes},
                        {"predicted_bytes", t.predicted_bytes},
                        {"first_step_s", t.first_step_s},
                        {"contended", t.contended}};
    for (const Profile::Row& p : profiled)
      j["profile"].push_back({{"op", p.name},
                              {"way", std::string(to_string(p.way))},
                              {"calls", static_cast<double>(p.calls) / kProfiledSteps},
                              {"thread_seconds", p.seconds / kProfiledSteps},
                              {"flops", p.flops / kProfiledSteps},
                              {"bytes", p.bytes / kProfiledSteps}});
    print_json(j);
    return ExitCode::ok;
  }
  const bool as_table = args.format.csv || args.format.markdown;
  if (as_table && !args.profile)
    print(step_rows(args, bench, t), args.format);
  else if (!as_table)
    print_step(args, c, bench, t);
  if (as_table && t.contended) note(kContended, args.format);
  if (args.profile) {
    if (!as_table) fmt::print("\n");
    print(profile_rows(profiled, profiled_seconds, kProfiledSteps), args.format);
  }
  return ExitCode::ok;
}

ExitCode bench_roofline(const Common& common, const BenchFormat& format) {
  const Roofline r = measure_roofline();
  if (common.json) {
    print_json(to_json(r));
    return ExitCode::ok;
  }
  Rows rows = {{"what", "value", "unit", "how"}};
  rows.push_back({"FMA peak", fmt::format("{:.1f}", r.fma), "GFLOP/s", "f32 multiply-adds in registers, all threads"});
  rows.push_back({"P_1024", fmt::format("{:.1f}", r.p1024.median), "GFLOP/s",
                  fmt::format("f32 1024^3 product, median (p10 {:.1f}, p90 {:.1f})", r.p1024.p10, r.p1024.p90)});
  rows.push_back({"P_best", fmt::format("{:.1f}", r.best), "GFLOP/s", r.best_shape});
  for (const Bandwidth& b : r.read)
    rows.push_back({fmt::format("read {} MiB", b.bytes >> 20), fmt::format("{:.1f}", b.read_gb_per_s), "GB/s",
                    "best of repetitions, all threads together"});
  rows.push_back({"triad", fmt::format("{:.1f}", r.triad_gb_per_s), "GB/s", "a = b + s c over 512 MiB, 12 bytes each"});
  rows.push_back({"barrier", fmt::format("{:.2f}", r.barrier_us.median), "us",
                  fmt::format("empty parallel region, median (p90 {:.2f})", r.barrier_us.p90)});
  print(rows, format);
  note(fmt::format("{}, {}, {}{}", cpu_model(), isa(), counted(r.threads, "thread"),
                   r.contended ? fmt::format("; {}", kContended) : ""),
       format);
  return ExitCode::ok;
}

ExitCode bench_ops(const Common& common, const BenchListArgs& args) {
  return print_cases(common, args.format, op_cases(), args.seconds, args.only);
}

ExitCode bench_mixers(const Common& common, const BenchListArgs& args) {
  const BenchShape shape{args.width, args.batch, args.tokens};
  return print_cases(common, args.format, mechanism_cases(shape, args.variants), args.seconds, args.only);
}

}  // namespace effllm::app
