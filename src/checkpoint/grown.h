// Weights and moments in a model that has grown out of theirs: more rows, or more columns, of the same matrices.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"

namespace effllm {

// What the file holds comes first in every parameter. Rows beyond it become zeros, columns stay as they started: a
// token's key is a row, which gives it no share at first, and its value a column, without which its key would get no
// gradient. Buffers are those of the file. CheckpointError where the file lacks one, or has a larger.
void load_grown(const SafetensorsFile& file, const std::string& path, const ParamStore& store);
// What the file holds beside parameters: moments of the parameters of `store`, zeros where those have grown, and
// states. `shape`: of a slot of a parameter, by the slot's name.
std::vector<NamedTensor> grown_rest(const SafetensorsFile& file, const std::string& path, const ParamStore& store,
                                    const std::function<Shape(std::string_view slot, const Parameter&)>& shape);

}  // namespace effllm
