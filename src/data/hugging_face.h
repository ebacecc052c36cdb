// A tokenizer as files of Hugging Face's libraries.
#pragma once
#include <string>

#include "data/tokenizer.h"

namespace effllm {

struct HuggingFaceTokenizer {
  std::string tokenizer;  // tokenizer.json, of their `tokenizers`
  std::string config;  // tokenizer_config.json, of their `transformers`: the end token is a newline, where there is one
};

// The same ids of the same texts, and back; ids that are no text come back as U+FFFD. `longest`: tokens of a text that
// the model was trained on. ConfigError for a vocabulary whose tokens are neither characters nor bytes.
HuggingFaceTokenizer hugging_face(const Tokenizer& tokenizer, int64_t longest);

}  // namespace effllm
