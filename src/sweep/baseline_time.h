// How long n-gram models and compressors of a study's text will take.
#pragma once
#include "sweep/plan.h"

namespace effllm {

// Seconds, by a piece of the training text that each of them is given now, and what all of it would take at that rate,
// on `threads` threads (at most four are used). 0 where the study has none, as of tasks.
double baseline_seconds(const Plan& plan, int threads);

}  // namespace effllm
