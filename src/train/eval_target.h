// What a trained model is scored on: a split of a corpus, or a text file as a whole.
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "train/loaded_model.h"

namespace effllm {

struct EvalTarget {
  std::string name;              // of the split, or the file
  std::optional<Split> split;    // unset: a file
  std::optional<Corpus> corpus;  // that the split is of; of a file what baselines read before, where it is there
  std::string no_corpus;         // why it is not
  std::vector<std::string> other_than_trained_on;  // how the corpus differs
  std::string file_text, file_sha256;
  TokenizedText tokens;

  std::string_view text() const { return split ? corpus->text(*split) : std::string_view(file_text); }
};

// A split of the corpus that the model was trained on, or of another one. DataError where it is another than the model
// was trained on, unless `allow_other`.
EvalTarget split_target(const LoadedModel& m, Split split, const std::string& other_corpus, bool allow_other);

// A file, with the document separator of the training. DataError where it is missing or empty, or has symbols that the
// vocabulary lacks. The corpus that the model was trained on may be missing: it serves baselines only.
EvalTarget file_target(const LoadedModel& m, const std::string& file);

}  // namespace effllm
