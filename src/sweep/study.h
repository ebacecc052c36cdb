// A study, as it is written: a base configuration, arms that change it, seeds, values to choose from for each arm.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "config/assign.h"
#include "config/options.h"
#include "eval/eval_options.h"
#include "sweep/claim.h"

namespace effllm {

// Sizes that are solved for, so that arms are alike.
struct MatchOptions final : Options {
  std::string what, to, key = "model.d_model";
  double tol = 0.02, step = 8;
  void visit(OptionVisitor& v) override;
};

// How trained models are scored: as `effllm eval` with the same words. What is not given is as in the configuration.
struct StudyEvalOptions final : Options {
  std::string split = "test", protocol;
  std::optional<int64_t> tokens, stride;
  int64_t max_tokens = 0;
  bool baselines = true;
  void visit(OptionVisitor& v) override;
};

struct StudyArm {
  std::string name;
  Mark mark;
  std::vector<WrittenOverride> overrides;
};

// A key that is chosen for each arm, on the validation split.
struct TuneKey {
  std::string key;
  Mark mark;
  std::vector<ConfigNode> values;
};

struct Study {
  std::string name;
  std::filesystem::path file, base;
  Mark mark;       // of the whole
  Mark base_mark;  // of what `base` says
  std::vector<StudyArm> arms;
  std::vector<TuneKey> tune;
  int64_t seeds = 3, tune_seeds = 3;  // of the seeds, how many train every value that is tuned
  std::optional<MatchOptions> match;
  StudyEvalOptions eval;
  std::vector<ClaimOptions> claims = {};
  int64_t confirm = 0;                // held-out seeds
  std::vector<std::string> set = {};  // assignments of the command line, on the base
};

// ConfigError with all that is wrong and its places. The base and what overrides do to it is not looked at yet.
Study read_study(const std::filesystem::path& file);

// Whether a file is a study and no configuration: it has `arms`, `grid` or `list`. False where it can't be read.
bool is_study(const std::filesystem::path& file);

// Every section of a study with its options, for documents.
std::vector<ConfigSection> study_sections();

// Of letters, digits and ._-+: a value as a part of a folder's name.
std::string name_of(const ConfigNode& value);
// The last part of a key, `lr` of optim.lr; all of it, dots as underscores, where `whole`.
std::string name_of_key(std::string_view key, bool whole);

}  // namespace effllm
