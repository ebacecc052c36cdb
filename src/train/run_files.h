// What a run writes beside its journal and its checkpoints: configuration, provenance, status.json, metrics.h5.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "train/live_run.h"
#include "train/refresh_budget.h"

namespace effllm {

// A configuration as it was written.
struct WrittenConfig {
  std::string text;
  std::vector<std::string> overrides = {};  // assignments of the command line
  std::filesystem::path file = {};          // that the text was read from; empty: it is kept as it is
};

class RunFiles {
 public:
  explicit RunFiles(LiveRun& run) : run_(run) {}
  void write_configuration(const WrittenConfig& written);  // that, and resolved
  void write_provenance();
  void write_status(std::string_view status);
  // From the whole journal, which it reads and writes again: how often is for metrics_due() to say, except at the
  // start, the end and on request.
  void write_metrics(std::string_view status);
  bool metrics_due() const { return budget_.due(run_.clock.last()); }

 private:
  LiveRun& run_;
  RefreshBudget budget_{0.01};
  std::string provenance_;  // JSON
};

}  // namespace effllm
