// The page that shows a study: verdicts, pictures, what has none, and what it was made of.
#pragma once
#include <string>

#include "sweep/compare.h"

namespace effllm {

// The same bytes for the same files and the same program. DataError where a file of the study is damaged.
std::string study_report(const StudyFolder& folder, const StudyTable& table);

}  // namespace effllm
