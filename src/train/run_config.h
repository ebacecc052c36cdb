// A whole configuration: the sections model, data, optim, train, eval and what they say together.
#pragma once
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/batches.h"
#include "eval/evaluator.h"
#include "model/model_config.h"
#include "optim/optim_options.h"
#include "optim/schedule.h"
#include "tasks/task.h"

namespace effllm {

struct DataOptions final : Options {
  std::string corpus = "kjv", reset = "none";
  Choice<TokenizerInfo> tokenizer{all_tokenizers, "byte"};
  Choice<OrderInfo> order{all_orders, "shuffled_windows"};
  Choice<TaskInfo> task{all_tasks, kOrNone};  // where there is one, of these four nothing counts
  int64_t seed = 1;
  void visit(OptionVisitor& v) override;
};

// What a run has used up of its horizon, whichever that is.
struct Spent {
  int64_t steps = 0, tokens = 0;
  double epochs = 0, flops = 0, seconds = 0;
};

// Where a run ends: one of these.
struct Horizon {
  std::optional<int64_t> max_steps, max_tokens;
  std::optional<double> max_epochs, max_flops, max_time;
  double progress(const Spent& spent) const;  // fraction that is done
};

// Steps from one to the next, 0: at the end only; seconds; and what is kept of it.
struct Intervals {
  int64_t log_every = 10, eval_every = 0, save_every = 0, save_seconds = 300, keep = 2, sample_every = 0;
};

struct TrainOptions final : Options, Horizon, Intervals {
  int64_t batch = 16, context = 256, seed = 1;
  int64_t lanes = 0, shard_tokens = 0;
  bool carry_state = false;
  std::string recompute = "none", nonfinite = "skip";
  bool recomputes() const { return recompute == "block"; }
  void visit(OptionVisitor& v) override;
};

struct EvalSection final : Options {
  Choice<ProtocolInfo> protocol{all_protocols, "windows"};
  std::string split = "val";
  std::optional<int64_t> tokens, bound_samples;
  int64_t max_tokens = 0;
  std::string prompt;  // empty: a line break, or the vocabulary's first symbol where it has none
  int64_t sample_tokens = 200;
  double temperature = 0.8;
  void visit(OptionVisitor& v) override;
};

struct RunConfig {
  std::string name;
  ModelConfig model;
  ObjectiveSection objective;
  DataOptions data;
  OptimOptions optim;
  ScheduleSection schedule;
  std::vector<GroupOptions> groups;
  TrainOptions train;
  EvalSection eval;
  std::filesystem::path folder;  // of the file it came from: manifests are looked for there too
  ConfigNode root;               // as it was read; null where it was not

  // Where `section.key` was written: its value, or the section that lacks it.
  Mark mark_of(std::string_view section, std::string_view key) const;
};

// Every section that a configuration may have, with the defaults of its keys.
std::vector<ConfigSection> all_sections();

// Reads and checks all sections; every error is reported at once, with its place.
RunConfig read_run_config(const ConfigNode& root, const std::filesystem::path& file = {});
// Everything with its value, defaults included. Reading it again gives the same text.
ConfigNode write_run_config(const RunConfig& c);
// How the run is evaluated.
EvalOptions evaluation_of(const RunConfig& c);
// Tokens of the longest text that training sees at once; without end where states are carried on.
int64_t trained_context(const RunConfig& c);
// SHA-256 of what decides the numbers: the resolved configuration without the run's name, intervals and horizon, and
// the corpus by its name alone.
std::string experiment_hash(const RunConfig& c);

}  // namespace effllm
