// What a request for completions asks for.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "decode/generator.h"
#include "serve/served_model.h"

namespace effllm {

inline constexpr int64_t kMostLogprobs = 20, kMostStops = 16, kLongestStop = 1024;  // stops: their number, bytes of one

struct CompletionRequest {
  std::vector<std::string> prompts;  // bytes: what the tokens that were sent stand for
  GenerateOptions options;           // of each prompt; `samples` is the request's `n`
  bool echo = false;
  std::optional<int64_t> logprobs;  // so many of the likeliest tokens at each place
};

// Of a request's body: `prompt` (a text, a list of them, a list of token ids, a list of such lists), `model`,
// `max_tokens`, `temperature`, `top_p`, `top_k`, `n`, `stop`, `seed`, `logprobs`, `echo`, `stream`, which must be
// false. HttpError, naming the field: 404 for another model than is served; 400 for what is of a wrong type, out of
// range, beyond a limit, not in the vocabulary, asked of a model that can't, or no field.
CompletionRequest read_completion_request(const std::string& body, const ServedModel& served);

// Tokens of a text; HttpError 400, naming the field, where the vocabulary lacks one.
std::vector<int32_t> tokens_of(const Tokenizer& tokenizer, const std::string& text, const std::string& field);
// The bytes that a list of token ids stands for; the same errors.
std::string text_of_ids(const Tokenizer& tokenizer, const nlohmann::json& ids, const std::string& field);

}  // namespace effllm
