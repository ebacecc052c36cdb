// A trained model with what belongs to it, from a run folder or a checkpoint.
#pragma once
#include <filesystem>
#include <memory>
#include <string>

#include "data/corpus.h"
#include "data/tokenizer.h"
#include "model/language_model.h"
#include "train/run_record.h"

namespace effllm {

struct LoadedModel : RunRecord {
  std::filesystem::path checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;
  std::unique_ptr<LanguageModel> model;
};

// CheckpointError where the file is damaged, of another version, or lacks a parameter.
LoadedModel load_model(const std::filesystem::path& run_or_checkpoint, DType type = DType::f32);

// The corpus that a run was trained on: what `name` means in a configuration in the folder `near`, what was there then,
// or what the corpus' own name means now. Where none is the same still, what `name` means; DataError where it is none.
Corpus corpus_of(const RunRecord& record, const std::string& name, const std::filesystem::path& near = {});
// That of the model, by the name in its configuration.
Corpus open_corpus(const LoadedModel& m);

// Weights alone (model.safetensors, with configuration and vocabulary in its metadata) and effllm.json (configuration
// and size of the vocabulary), for other programs, into `folder`. A config.json would be taken for Hugging Face's.
// ConfigError, unless `replace`, where one of the two is there; IoError, with path and reason, where they can't be
// written.
void export_model(const LoadedModel& m, const std::filesystem::path& folder, bool replace = false);

}  // namespace effllm
