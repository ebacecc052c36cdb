#include "serve/completion.h"

#include <doctest/doctest.h>

#include "base/clock.h"
#include "decode/token_scores.h"
#include "serve/http_error.h"
#include "serve/tiny_served.h"

using namespace effllm;
using namespace effllm::test;
using nlohmann::json;

namespace {

json answer(const TinyServed& t, const json& body) {
  return complete(read_completion_request(body.dump(), t.served), t.served, seconds_now() + 600);
}
std::string generated(const TinyServed& t, const std::string& prompt, const GenerateOptions& o) {
  return generate(*t.loaded.model, *t.loaded.tokenizer, prompt, o).at(0);
}

}  // namespace

TEST_CASE("completion: the text that generate writes with these options, and why it ended") {
  const TinyServed t;
  const json drawn =
      answer(t, {{"prompt", "abc"}, {"max_tokens", 40}, {"temperature", 1.5}, {"seed", 9}}).at("choices");
  const std::string text =
      generated(t, "abc", {.tokens = 40, .sampler = {.temperature = 1.5, .top_k = 0, .top_p = 1, .seed = 9}});
  CHECK(drawn.at(0).at("text") == text);
  CHECK(drawn.at(0).at("finish_reason") == "length");
  const json cut = answer(
      t, {{"prompt", "abc"}, {"max_tokens", 40}, {"temperature", 1.5}, {"seed", 9}, {"stop", text.substr(9, 3)}});
  CHECK(cut.at("choices").at(0).at("text") == text.substr(0, text.find(text.substr(9, 3))));
  CHECK(cut.at("choices").at(0).at("finish_reason") == "stop");
  CHECK(cut.at("usage").at("prompt_tokens") == 3);
}

TEST_CASE("completion: each token of an echoed prompt has its own log-likelihood, the first none") {
  const TinyServed t;
  const json body = {{"prompt", "abcahf"}, {"max_tokens", 0}, {"echo", true}, {"logprobs", 2}};
  const json scores = answer(t, body).at("choices").at(0).at("logprobs");
  const auto wanted = score_tokens(*t.loaded.model, t.loaded.tokenizer->encode("abcahf"), 2);
  REQUIRE(scores.at("token_logprobs").size() == 6);
  CHECK(scores["token_logprobs"][0].is_null());
  for (size_t i = 1; i < 6; ++i) {
    CHECK(scores["token_logprobs"][i] == wanted[i - 1].log_likelihood);
    const json& top = scores.at("top_logprobs").at(i);
    CHECK(top.at(scores["tokens"][i].get<std::string>()) == wanted[i - 1].log_likelihood);
    for (const auto& [id, value] : wanted[i - 1].likeliest) CHECK(top.at(token_text(*t.loaded.tokenizer, id)) == value);
  }
}

TEST_CASE("completion: a request whose time is over is ended between two operations") {
  const TinyServed t;
  const CompletionRequest r = read_completion_request(R"({"prompt": "a"})", t.served);
  try {
    complete(r, t.served, seconds_now() - 1);
    FAIL("it was answered");
  } catch (const HttpError& e) {
    CHECK(e.status == 504);
  }
}
