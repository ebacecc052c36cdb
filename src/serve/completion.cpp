#include "serve/completion.h"

#include <fmt/format.h>

#include <atomic>
#include <ctime>

#include "autodiff/interrupt.h"
#include "base/clock.h"
#include "base/utf8.h"
#include "decode/token_scores.h"
#include "serve/http_error.h"

namespace effllm {
namespace {

// Tokens [shown, ..) of `tokens` with what each costs, as the `logprobs` of a choice; null for the first of all,
// which nothing is before. Offsets are characters of the text that begins with the first shown.
nlohmann::json scores_of(std::span<const int32_t> tokens, size_t shown, int64_t most, const ServedModel& served) {
  const std::vector<TokenScore> scores = score_tokens(served.model(), tokens, most);
  const Tokenizer& tokenizer = served.tokenizer();
  nlohmann::json texts = nlohmann::json::array(), values = texts, likeliest = texts, offsets = texts;
  int64_t offset = 0;
  for (size_t i = shown; i < tokens.size(); ++i) {
    texts.push_back(token_text(tokenizer, tokens[i]));
    offsets.push_back(offset);
    offset += tokenizer.characters_of(tokens[i]);
    if (i == 0) {
      values.push_back(nullptr);
      likeliest.push_back(nullptr);
      continue;
    }
    const TokenScore& s = scores[i - 1];
    values.push_back(s.log_likelihood);
    nlohmann::json top = nlohmann::json::object();
    for (const auto& [id, value] : s.likeliest) top[token_text(tokenizer, id)] = value;
    top[token_text(tokenizer, tokens[i])] = s.log_likelihood;
    likeliest.push_back(std::move(top));
  }
  return {{"tokens", texts}, {"token_logprobs", values}, {"top_logprobs", likeliest}, {"text_offset", offsets}};
}

struct Answer {
  const CompletionRequest& request;
  const ServedModel& served;
  nlohmann::json choices = nlohmann::json::array();
  int64_t prompt_tokens = 0, new_tokens = 0;

  void add(const std::string& prompt, const std::string& text) {
    const Tokenizer& tokenizer = served.tokenizer();
    const auto written = static_cast<int64_t>(tokenizer.encode(text).size());
    new_tokens += written;
    nlohmann::json choice = {{"index", choices.size()},
                             {"text", request.echo ? prompt + text : text},
                             {"finish_reason", written < request.options.tokens ? "stop" : "length"},
                             {"logprobs", nullptr}};
    if (request.logprobs) {
      // What the model reads of an empty prompt is no part of it.
      std::vector<int32_t> tokens = effllm::prompt_tokens(tokenizer, prompt);
      const size_t shown = request.echo && !prompt.empty() ? 0 : tokens.size();
      for (const int32_t id : tokenizer.encode(text)) tokens.push_back(id);
      if (static_cast<int64_t>(tokens.size()) - 1 > served.model().longest())
        throw HttpError(400,
                        fmt::format("`logprobs`: the model has learned positions for {} tokens, too few for the prompt "
                                    "and `max_tokens`",
                                    served.model().longest()),
                        "max_tokens", kTooLong);
      choice["logprobs"] = scores_of(tokens, shown, *request.logprobs, served);
    }
    choices.push_back(std::move(choice));
  }
};

std::vector<std::string> texts_of(const std::string& prompt, const CompletionRequest& r, const ServedModel& served) {
  if (r.options.tokens == 0) return std::vector<std::string>(static_cast<size_t>(r.options.samples));
  return generate(served.model(), served.tokenizer(), prompt, r.options);
}

}  // namespace

std::string token_text(const Tokenizer& tokenizer, int32_t id) {
  std::string bytes = tokenizer.decode(std::span(&id, 1));
  if (is_utf8(bytes)) return bytes;
  std::string text = "bytes:";
  for (const char c : bytes) text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return text;
}

nlohmann::json complete(const CompletionRequest& request, const ServedModel& served, double deadline) {
  static std::atomic<int64_t> number = 0;
  Answer answer{request, served};
  try {
    const Interrupt interrupt([deadline] { return seconds_now() > deadline; });
    for (const std::string& prompt : request.prompts) {
      answer.prompt_tokens += static_cast<int64_t>(served.tokenizer().encode(prompt).size());
      for (const std::string& text : texts_of(prompt, request, served)) answer.add(prompt, text);
    }
  } catch (const Interrupted&) {
    throw HttpError(504, "the request took longer than it may (--timeout): ask for less at once", "", "timeout");
  }
  return {{"id", fmt::format("cmpl-{}", ++number)},
          {"object", "text_completion"},
          {"created", static_cast<int64_t>(std::time(nullptr))},
          {"model", served.id},
          {"choices", answer.choices},
          {"usage",
           {{"prompt_tokens", answer.prompt_tokens},
            {"completion_tokens", answer.new_tokens},
            {"total_tokens", answer.prompt_tokens + answer.new_tokens}}}};
}

}  // namespace effllm
