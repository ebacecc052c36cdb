// Checkpoints: one safetensors file with weights, optimizer moments, carried states, counters and configuration.
#pragma once
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "nn/param_store.h"
#include "store/safetensors.h"

namespace effllm {

inline constexpr int kCheckpointVersion = 2;

struct NamedTensor {
  std::string name;
  Tensor value;
};

// Writes parameters and buffers under their names, and `more` tensors beside them. CheckpointError
// where a value is not finite: such a checkpoint is never written.
void save_checkpoint(const std::filesystem::path& file, const ParamStore& params, const std::vector<NamedTensor>& more,
                     std::map<std::string, std::string> metadata);

// What keeps the file's weights from being those of `store`, the first of it; empty where names and shapes agree.
std::string misfit(const SafetensorsFile& file, const ParamStore& store);
// Every parameter and buffer of `store` must be there with its shape; others of the model in the file are an error too.
// Values of another float type are converted. CheckpointError names the first that differ.
void load_parameters(const SafetensorsFile& file, const std::string& path, const ParamStore& store);
// Copies the tensor `name` into `to`. False where the file has none; CheckpointError where it has another shape
// or a count can't be, NumericalError where a value is not finite.
bool load_tensor(const SafetensorsFile& file, const std::string& path, const std::string& name, const Tensor& to);
// The format version of the file. CheckpointError unless it is one of ours, of a version that this program knows.
int require_checkpoint(const SafetensorsFile& file, const std::string& path);

// SHA-256 of all parameter values in the order of names, then of buffers: two runs are the same iff their hashes are.
std::string parameter_hash(const ParamStore& params);

}  // namespace effllm
