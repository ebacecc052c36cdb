// The optimizer's moments in a checkpoint: "opt.m.<parameter>", "opt.v.<parameter>".
#pragma once
#include <string>
#include <vector>

#include "io/checkpoint.h"
#include "optim/adamw.h"

namespace effllm {

// Views of the optimizer's slabs.
std::vector<NamedTensor> moments(const AdamW& optimizer, const ParamStore& store);
// CheckpointError where one is missing, of another shape, or where a second moment is negative; NumericalError where a
// value is not finite.
void load_moments(const SafetensorsFile& file, const std::string& path, const AdamW& optimizer,
                  const ParamStore& store);

}  // namespace effllm
