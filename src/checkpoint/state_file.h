// What a model remembers in mid-sequence, as a file.
#pragma once
#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "nn/state.h"

namespace effllm {

// Every tensor of the state under the name of its place, "state.layers.3.mixer.k", in the same memory.
std::vector<NamedTensor> named_tensors(const State& state);

// False where the file has no such tensor. Counts of a block were its mixer's before.
bool load_state_tensor(const SafetensorsFile& file, const std::string& path, const NamedTensor& t);

void save_state(const std::filesystem::path& file, const State& state);
// Into `state`, made with the same batch and capacity. CheckpointError where a tensor is missing or
// has another shape.
void load_state(const std::filesystem::path& file, const State& state);

}  // namespace effllm
