// Baselines for people.
#pragma once
#include <string>

#include "eval/baselines.h"

namespace effllm {

// A row for the model, with <= where it is a bound, and one for each baseline, a column for each text that was read
// before; below it how compressors are scored, and what was left out with the reason.
std::string baseline_table(double model_bits_per_byte, const Baselines& baselines, bool bound = false);

}  // namespace effllm
