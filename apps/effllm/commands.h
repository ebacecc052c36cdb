// What each subcommand takes, and its function: parsing is cli.cpp's, the work the library's. A function prints
// results to stdout and returns the exit code; errors are exceptions.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"

namespace effllm::app {

struct Common {
  std::string program = "effllm";  // as it was called
  bool json = false, quiet = false;
  int threads = 0;  // 0: all that the process may use
};

struct TrainArgs {
  std::string config, name, runs /* empty: "runs" */, resume, from;
  std::vector<std::string> set;
  bool dry_run = false, allow_other_model = false, allow_other_data = false;
};
ExitCode train(const Common&, const TrainArgs&);

struct EvalArgs {
  std::string model, corpus, text, split = "val", protocol, save_logits, exit_layer;
  std::optional<int64_t> tokens, stride, bound_samples, seed;
  int64_t max_tokens = 0;
  std::vector<int64_t> lengths;
  bool baselines = true, allow_other_data = false, by_position = false, left_to_right = false,
       pseudo_likelihood = false, training_choice = true;
};
ExitCode eval(const Common&, const EvalArgs&);

struct GenerateArgs {
  std::string model, prompt, prompt_file, blank;  // the prompt and what stands for a blank with escapes as written
  std::string draft;                              // a run folder or checkpoint
  int64_t tokens = 200, samples = 1, top_k = 0, seed = 1, draft_tokens = 4;
  double temperature = 0.8, top_p = 1;
  std::optional<int64_t> context, steps, block;
  std::string unmask = "ancestral";
  bool greedy = false, raw = false;
  std::vector<std::string> stop;
};
ExitCode generate(const Common&, const GenerateArgs&);

struct ListArgs {
  std::string kind;
  bool details = false, markdown = false;
};
ExitCode list(const Common&, const ListArgs&);

struct DescribeArgs {
  std::string model;  // a configuration, run folder or checkpoint
  std::vector<std::string> set;
  bool parameters = false;
};
ExitCode describe(const Common&, const DescribeArgs&);

struct CheckArgs {
  std::vector<std::string> configs;
  std::vector<std::string> set;
};
ExitCode check(const Common&, const CheckArgs&);

struct VerifyArgs {
  std::string model;  // a configuration, run folder or checkpoint
  std::vector<std::string> set;
  std::string type = "both";
  std::optional<int64_t> tokens;
  int64_t batch = 2;
};
ExitCode verify(const Common&, const VerifyArgs&);

struct RunsArgs {
  std::string runs = "runs";
};
ExitCode runs(const Common&, const RunsArgs&);

struct PlotArgs {
  std::vector<std::string> runs, metrics;
  std::string x = "step", colour = "auto";
  int width = 0, height = 16;
  bool ascii = false, log_y = false;
};
ExitCode plot(const Common&, const PlotArgs&);

ExitCode doctor(const Common&);

struct BenchFormat {
  bool markdown = false, csv = false;
};
struct BenchArgs {
  std::string config, trace, save_inputs;
  std::vector<std::string> set;
  int64_t repetitions = 15;
  double seconds = 10;  // at least
  bool profile = false, follow = false;
  BenchFormat format;
};
ExitCode bench_train(const Common&, const BenchArgs&);
ExitCode bench_roofline(const Common&, const BenchFormat&);
struct BenchListArgs {
  std::string only;
  double seconds = 0.5;  // a case
  int64_t width = 256, batch = 2, tokens = 256;
  bool variants = false;
  BenchFormat format;
};
ExitCode bench_ops(const Common&, const BenchListArgs&);
ExitCode bench_mixers(const Common&, const BenchListArgs&);

struct DecodeArgs {
  std::vector<std::string> models, set;
  std::vector<int64_t> depths = {0, 256, 1024, 4096};
  int64_t tokens = 32, repetitions = 5;
  BenchFormat format;
};
ExitCode bench_decode(const Common&, const DecodeArgs&);

struct SpeculateArgs {
  std::string model, draft, prompt;  // the latter with escapes as written
  std::vector<int64_t> draft_tokens = {1, 2, 4, 8};
  int64_t tokens = 200, repetitions = 5, seed = 1;
  double temperature = 0.8;
  BenchFormat format;
};
ExitCode bench_speculate(const Common&, const SpeculateArgs&);

struct GrowArgs {
  std::string model, folder;
  std::vector<std::string> set;
};
ExitCode grow(const Common&, const GrowArgs&);

struct ExportArgs {
  std::string model, folder, format = "weights";
  bool force = false;
};
ExitCode export_run(const Common&, const ExportArgs&);

struct PrepareArgs {
  std::string file, name, folder = "data", separator;
  double train = 0.9, val = 0.05;
  bool force = false;
};
ExitCode prepare_data(const Common&, const PrepareArgs&);
ExitCode show_data(const Common&, const std::string& corpus);
struct SampleArgs {
  std::string config, split = "train";
  std::vector<std::string> set;
  int64_t first = 0, count = 3;
};
ExitCode show_samples(const Common&, const SampleArgs&);

ExitCode version(const Common&);

}  // namespace effllm::app
