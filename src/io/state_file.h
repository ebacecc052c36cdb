// What a model remembers in mid-sequence, as a file.
#pragma once
#include <filesystem>

#include "io/checkpoint.h"
#include "model/language_model.h"

namespace effllm {

// Every tensor of the state under the name of its place, "state.layers.3.mixer.k", in the same memory.
std::vector<NamedTensor> named_tensors(const LanguageModel& model, const ModelState& state);

void save_state(const std::filesystem::path& file, const LanguageModel& model, const ModelState& state);
// Into `state`, made by model.make_state with the same batch and capacity. CheckpointError where a tensor is missing or
// has another shape.
void load_state(const std::filesystem::path& file, const LanguageModel& model, const ModelState& state);

}  // namespace effllm
