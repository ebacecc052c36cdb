// What clients ask of a tokenizer over HTTP, as vLLM's server answers it: lm-evaluation-harness counts tokens by it.
#pragma once
#include <optional>
#include <string>

#include "base/json.h"
#include "data/tokenizer.h"

namespace effllm {

// The token that ends a text where a program wants one: a newline, the first of an empty prompt too; none where the
// vocabulary lacks it.
std::optional<int32_t> end_token(const Tokenizer& tokenizer);

// {"tokenizer_class":..,"eos_token":"\n","model_max_length":..}; `longest` of a prompt.
nlohmann::json tokenizer_info(const Tokenizer& tokenizer, int64_t longest);
// {"prompt": TEXT} -> {"tokens": [..], "count":.., "max_model_len":..}
nlohmann::json tokenize(const std::string& body, const Tokenizer& tokenizer, int64_t longest);
// {"tokens": [..]} -> {"prompt": TEXT}; bytes that are not UTF-8 are U+FFFD.
nlohmann::json detokenize(const std::string& body, const Tokenizer& tokenizer);

}  // namespace effllm
