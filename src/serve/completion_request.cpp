#include "serve/completion_request.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "serve/fields.h"
#include "serve/http_error.h"

namespace effllm {
namespace {

constexpr const char* kPromptForms =
    "`prompt` must be a text, a list of texts, a list of token ids or a list of such lists, and not empty";

std::vector<std::string> prompts_of(const nlohmann::json& prompt, const Tokenizer& tokenizer) {
  if (prompt.is_string()) return {prompt.get<std::string>()};
  if (!prompt.is_array() || prompt.empty()) throw HttpError(400, kPromptForms, "prompt");
  if (prompt.front().is_number()) return {text_of_ids(tokenizer, prompt, "prompt")};
  std::vector<std::string> all;
  for (const nlohmann::json& item : prompt) {
    if (item.type() != prompt.front().type() || !(item.is_string() || item.is_array()))
      throw HttpError(400, kPromptForms, "prompt");
    all.push_back(item.is_string() ? item.get<std::string>() : text_of_ids(tokenizer, item, "prompt"));
  }
  return all;
}

std::vector<std::string> stops_of(const nlohmann::json& stop) {
  std::vector<std::string> all;
  if (stop.is_null()) return all;
  const nlohmann::json list = stop.is_array() ? stop : nlohmann::json::array({stop});
  for (const nlohmann::json& s : list) {
    if (!s.is_string()) throw HttpError(400, "`stop` must be a text or a list of texts", "stop");
    if (const auto& text = all.emplace_back(s.get<std::string>()); text.empty() || text.size() > kLongestStop)
      throw HttpError(
          400, fmt::format("`stop`: a text that ends others has 1 to {} bytes, not {}", kLongestStop, text.size()),
          "stop");
  }
  if (static_cast<int64_t>(all.size()) > kMostStops)
    throw HttpError(400, fmt::format("`stop` has {} texts: at most {} may be given", all.size(), kMostStops), "stop");
  return all;
}

void require_prompts(const CompletionRequest& r, const ServedModel& served) {
  const ServeLimits& limits = served.limits;
  if (static_cast<int64_t>(r.prompts.size()) > limits.texts / r.options.samples)
    throw HttpError(
        400,
        fmt::format("{} with `n` {} would be more than {}, as many as a request may ask for (--max-samples)",
                    counted(static_cast<int64_t>(r.prompts.size()), "prompt"), r.options.samples,
                    counted(limits.texts, "text")),
        r.options.samples > 1 ? "n" : "prompt");
  for (const std::string& p : r.prompts) {
    const auto length = static_cast<int64_t>(tokens_of(served.tokenizer(), p, "prompt").size());
    if (length > limits.prompt_tokens)
      throw HttpError(400,
                      fmt::format("`prompt` has {}: at most {} may be given (--max-prompt)", counted(length, "token"),
                                  limits.prompt_tokens),
                      "prompt", kTooLong);
  }
}

}  // namespace

std::vector<int32_t> tokens_of(const Tokenizer& tokenizer, const std::string& text, const std::string& field) {
  try {
    return tokenizer.encode(text);
  } catch (const DataError& e) {
    throw HttpError(400, fmt::format("`{}`: {}", field, e.what()), field);
  }
}

std::string text_of_ids(const Tokenizer& tokenizer, const nlohmann::json& ids, const std::string& field) {
  std::vector<int32_t> tokens;
  if (!ids.is_array()) throw HttpError(400, fmt::format("`{}` must be a list of token ids", field), field);
  for (const nlohmann::json& id : ids) {
    if (!id.is_number_integer() || id < 0 || id >= tokenizer.vocab_size())
      throw HttpError(
          400,
          fmt::format("`{}`: {} is no token id: they are integers of 0 to {}", field,
                      id.is_structured() ? id.type_name() : id.dump().substr(0, 60), tokenizer.vocab_size() - 1),
          field);
    tokens.push_back(id.get<int32_t>());
  }
  return tokenizer.decode(tokens);
}

CompletionRequest read_completion_request(const std::string& body, const ServedModel& served) {
  Fields f(body);
  if (const std::string model = f.text("model", served.id); model != served.id)
    throw HttpError(
        404, fmt::format("there is no model `{}`: this server has `{}`", printable(model.substr(0, 60)), served.id),
        "model", "model_not_found");
  CompletionRequest r;
  r.prompts = prompts_of(f.value("prompt"), served.tokenizer());
  r.options.tokens =
      f.integer("max_tokens", std::min<int64_t>(16, served.limits.new_tokens), 0, served.limits.new_tokens);
  r.options.samples = f.integer("n", 1, 1, served.limits.texts);
  r.options.stop = stops_of(f.value("stop"));
  r.options.sampler = {.temperature = f.number("temperature", 1),
                       .top_k = f.integer("top_k", 0, 0, std::numeric_limits<int32_t>::max()),
                       .top_p = f.number("top_p", 1),
                       .seed = static_cast<uint64_t>(f.integer("seed", 1, 0, std::numeric_limits<int64_t>::max()))};
  if (!(r.options.sampler.temperature >= 0)) throw HttpError(400, "`temperature` can't be below 0", "temperature");
  if (!(r.options.sampler.top_p > 0 && r.options.sampler.top_p <= 1))
    throw HttpError(400, "`top_p` must be above 0 and at most 1", "top_p");
  r.options.context = served.context;
  r.echo = f.flag("echo", false);
  if (f.flag("stream", false)) throw HttpError(400, "`stream`: answers come as a whole here; leave it out", "stream");
  if (!f.value("logprobs").is_null()) {
    r.logprobs = f.integer("logprobs", 0, 0, kMostLogprobs);
    if (!served.scores())
      throw HttpError(400,
                      fmt::format("`logprobs`: a model of {} does not predict a text token by token from those before: "
                                  "leave it out",
                                  served.loaded.config.objective.type.name()),
                      "logprobs");
  }
  f.require_all_known();
  require_prompts(r, served);
  return r;
}

}  // namespace effllm
