// What an optimizer keeps, in a checkpoint: "opt.<slot>.<parameter>", such as AdamW's "opt.m.*" and "opt.v.*".
#pragma once
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "optim/optimizer.h"

namespace effllm {

// Views of the optimizer's slots.
std::vector<NamedTensor> moments(const Optimizer& optimizer);
// CheckpointError where one is missing, of another shape, or where a second moment (slot "v") is negative;
// NumericalError where a value is not finite.
void load_moments(const SafetensorsFile& file, const std::string& path, const Optimizer& optimizer);

}  // namespace effllm
