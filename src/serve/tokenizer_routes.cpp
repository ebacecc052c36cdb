#include "serve/tokenizer_routes.h"

#include "serve/completion_request.h"
#include "serve/fields.h"
#include "serve/http_error.h"

namespace effllm {

std::optional<int32_t> end_token(const Tokenizer& tokenizer) {
  try {
    const std::vector<int32_t> ids = tokenizer.encode("\n");
    return ids.size() == 1 ? std::optional(ids.front()) : std::nullopt;
  } catch (const DataError&) {
    return {};
  }
}

nlohmann::json tokenizer_info(const Tokenizer& tokenizer, int64_t longest) {
  return {{"tokenizer_class", tokenizer.kind()},
          {"eos_token", end_token(tokenizer) ? nlohmann::json("\n") : nlohmann::json()},
          {"bos_token", nullptr},
          {"vocab_size", tokenizer.vocab_size()},
          {"model_max_length", longest}};
}

nlohmann::json tokenize(const std::string& body, const Tokenizer& tokenizer, int64_t longest) {
  Fields f(body);
  const std::string prompt = f.text("prompt", "");
  f.text("model", "");
  if (f.flag("add_special_tokens", false))
    throw HttpError(400, "`add_special_tokens`: the tokenizer has none", "add_special_tokens");
  f.require_all_known();
  const std::vector<int32_t> ids = tokens_of(tokenizer, prompt, "prompt");
  return {{"tokens", ids}, {"count", ids.size()}, {"max_model_len", longest}};
}

nlohmann::json detokenize(const std::string& body, const Tokenizer& tokenizer) {
  Fields f(body);
  f.text("model", "");
  const std::string text = text_of_ids(tokenizer, f.value("tokens"), "tokens");
  f.require_all_known();
  return {{"prompt", text}};
}

}  // namespace effllm
