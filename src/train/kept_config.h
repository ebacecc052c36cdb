// The configurations and overrides that a run folder keeps, so that the run can be run from there.
#pragma once
#include <filesystem>
#include <optional>
#include <string>

#include "train/run_config.h"

namespace effllm {

// What was written in `file`, with the run's name, the corpus by its full path and the bases worked in. Where the file
// names no corpus, or none that is there (--set named another), it is `corpus`, a full path; empty: not known. Comments
// and layout stay where there are no bases.
std::string kept_config(const std::filesystem::path& file, const std::string& text, const std::string& name,
                        const std::string& corpus);
// Everything with its value (config.resolved.yaml, /config_yaml of metrics.h5), the corpus by its full path.
ConfigNode resolved_config(const RunConfig& config, const std::filesystem::path& manifest);

// The corpus that an assignment of the command line names, data.corpus=NAME or data={corpus: NAME}; unset where it
// names none.
std::optional<std::string> corpus_in(const std::string& assignment);
// The assignment, which names a corpus, with that of `path` in its place.
std::string with_corpus(const std::string& assignment, const std::string& path);
// The assignment with its corpus by its full path, found as from a configuration in the folder `near`; as it is where
// it names none that is there.
std::string kept_override(const std::string& assignment, const std::filesystem::path& near);

}  // namespace effllm
