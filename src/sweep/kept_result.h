// What is kept of a run that ended, read with care: a damaged file is told by its name, and counts for nothing.
#pragma once
#include <optional>
#include <vector>

#include "sweep/study_folder.h"

namespace effllm {

// `run`: the object by which a plan names it (identity_of). Unset where there is no such file; DataError, which says
// what to do, where it is no JSON object, of another run, or lacks what a table is made of.
std::optional<nlohmann::json> result_if_there(const StudyFolder& folder, const nlohmann::json& run);
std::optional<nlohmann::json> failure_if_there(const StudyFolder& folder, const nlohmann::json& run);

// DataError with all of these runs' files that are damaged.
void require_kept(const StudyFolder& folder, const std::vector<nlohmann::json>& runs);

}  // namespace effllm
