// What a run is refused or doubted for before its first step, in an encoder as in a decoder.
#include "train/preflight.h"

#include <doctest/doctest.h>

#include "support/messages.h"
#include "support/tiny_run.h"

using namespace effllm;
using namespace effllm::test;

namespace {

RunConfig config(const TinyFolder& t, const std::string& objective, const std::string& encoder,
                 const std::string& more = "") {
  return read_run_config(
      parse_config(
          "model:\n  d_model: 16\n  layers: [{mixer: min_gru, cross: {type: attention, heads: 2}}]\n  encoder:\n"
          "    layers: [" +
              encoder + "]\nobjective: " + objective +
              "\ndata: {corpus: data/tiny.yaml, tokenizer: char}\n"
              "train: {batch: 4, context: 16, max_steps: 100}\neval:\n  sample_tokens: 12\n" +
              more,
          "p.yaml"),
      t / "p.yaml");
}

}  // namespace

TEST_CASE("preflight: values that a layer of the encoder gives and nobody takes are doubted at their place") {
  const TinyFolder t("preflight_encoder");
  const std::string gives = "{mixer: {type: attention, heads: 2, value_residual: 0.5}}";
  const auto doubts = [&](const std::string& encoder) {
    std::vector<std::string> all;
    for (const Doubt& d : preflight(config(t, "{type: seq2seq}", encoder)).doubts)
      all.push_back(located(d.where, d.message));
    return all;
  };
  const auto one = doubts(gives);
  REQUIRE(one.size() == 1);
  CHECK(one[0].starts_with("p.yaml:5:14"));
  CHECK(has(one[0], "`values` of layer 0 of the encoder are for later layers, but none takes them"));
  CHECK(doubts(gives + ", " + gives).empty());
}

TEST_CASE("preflight: blanks and prompts that samples can't have are told at eval.prompt") {
  const TinyFolder t("preflight_prompt");
  const std::string encoder = "{mixer: {type: attention, heads: 2}}";
  const auto refused = [&](const std::string& objective, const std::string& more) {
    return message_of<ConfigError>([&] { preflight(config(t, objective, encoder, more)); });
  };
  const std::string blanks =
      refused("{type: span_corruption, sentinels: 4}", "  prompt: the ___ fox ___ dog ___ again\n");
  CHECK(blanks.starts_with("p.yaml:11:11"));
  CHECK(has(blanks, "eval.prompt: a prompt with 3 blanks, but the model has sentinels for 2"));
  CHECK(refused("{type: span_corruption, sentinels: 5}", "  prompt: the ___ fox ___ dog ___ again\n").empty());
  CHECK(has(refused("{type: span_corruption}", "  prompt: the Quick\n"), "eval.prompt: "));
}
