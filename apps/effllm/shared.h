// What several commands do alike.
#pragma once
#include <string>
#include <vector>
#include "base/escapes.h"

#include "train/loaded_model.h"
#include "train/memory_plan.h"
#include "train/run_config.h"

namespace effllm::app {

// A configuration file with the overrides of the command line applied; a `name` that isn't empty replaces its own.
RunConfig load_run_config(const std::string& file, const std::vector<std::string>& overrides,
                          const std::string& name = "");

// Whether it names a run folder or a checkpoint; else it is a configuration.
bool is_trained(const std::string& model);

// ConfigError for a model of a task that does not go on with a text.
void require_continuation(const LoadedModel& m);

struct ModelSource {
  RunConfig config;
  int64_t vocab;
  TextSizes text;  // of its corpus; zeros where it is not there
};
// Of a configuration file, or of what a run folder or checkpoint says it was made with, which needs no corpus.
ModelSource source_of(const std::string& model, const std::vector<std::string>& overrides);

}  // namespace effllm::app
