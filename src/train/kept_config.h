// The configurations that a run folder keeps, so that the run can be run from there.
#pragma once
#include <filesystem>
#include <string>

#include "train/run_config.h"

namespace effllm {

// What was written in `file`, with the run's name, the corpus by its full path and the bases worked in. Comments and
// layout stay where there are no bases.
std::string kept_config(const std::filesystem::path& file, const std::string& text, const std::string& name);
// Everything with its value (config.resolved.yaml, /config_yaml of metrics.h5), the corpus by its full path.
ConfigNode resolved_config(const RunConfig& config, const std::filesystem::path& manifest);

}  // namespace effllm
