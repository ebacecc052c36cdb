// A trained model with what belongs to it, from a run folder or a checkpoint.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "data/corpus.h"
#include "data/tokenizer.h"
#include "io/safetensors.h"
#include "model/language_model.h"
#include "train/run_config.h"

namespace effllm {

struct LoadedModel {
  std::filesystem::path checkpoint;
  RunConfig config;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<LanguageModel> model;
  std::string data_sha256;
  std::string manifest;  // where the corpus' was when the run was trained; empty where that isn't known
  int64_t step = 0;
};

// The configuration that a checkpoint was trained with. Its name is not checked again: rules of names are for new runs.
RunConfig config_in(const SafetensorsFile& checkpoint, const std::string& path);

// CheckpointError where the file is damaged, of another version, or lacks a parameter.
LoadedModel load_model(const std::filesystem::path& run_or_checkpoint, DType type = DType::f32);

// The corpus that the model was trained on: in the usual places, or where it was then if it is still the same. Where
// neither has the right SHA-256, that of the usual places. DataError where there is none.
Corpus open_corpus(const LoadedModel& m);

// Weights alone (model.safetensors, with configuration and vocabulary in its metadata) and config.json, for other
// programs, into `folder`.
void export_model(const LoadedModel& m, const std::filesystem::path& folder);

}  // namespace effllm
