// Texts that another run drafts.
#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli generate --draft: greedy texts stay the same, and it says what became of drafted tokens") {
  const TrainedWorld w({"train.max_steps=60"});
  w.ok(with({"train", "tiny.yaml", "-q", "--name", "small"},
            sets({"train.max_steps=40", "model.d_model=8", "model.layers=[{mixer: {type: attention, heads: 2}}]"})));
  const Words words = {"generate", "runs/tiny", "-p", "line 1", "-n", "60", "--greedy"};
  const json plain = w.read(words);
  CHECK(plain.at("draft").is_null());
  const json drafted = w.read(with(words, {"--draft", "runs/small", "--draft-tokens", "3"}));
  CHECK(drafted.at("samples") == plain.at("samples"));
  const json& d = drafted.at("draft");
  CHECK(d.at("model").get<std::string>().find("runs/small") != std::string::npos);
  check_has(d, {{"draft_tokens", 3}, {"tokens", 60}});
  CHECK(d.at("accepted") <= d.at("checked"));
  CHECK(d.at("checked") <= d.at("drafted"));
  CHECK(d.at("acceptance") == doctest::Approx(d.at("accepted").get<double>() / d.at("checked").get<double>()));
  CHECK(d.at("tokens_per_call") == doctest::Approx(60 / d.at("calls").get<double>()));
  CHECK(d.at("seconds") > 0);

  const json own = w.read(with(words, {"--draft", "runs/tiny"}));
  CHECK(own.at("samples") == plain.at("samples"));
  CHECK(own.at("draft").at("acceptance") == 1);
  CHECK(own.at("draft").at("calls") <= 14);  // of 60 tokens, 5 at a time

  const json repeated = w.read(with(words, {"--draft", "ngram"}));
  CHECK(repeated.at("samples") == plain.at("samples"));
  CHECK(repeated.at("draft").at("model").is_null());
  CHECK(repeated.at("draft").at("checked") > 0);

  const Ended told = w.ok(with(words, {"--draft", "runs/small"}));
  CHECK(told.out == "line 1" + plain.at("samples").at(0).get<std::string>() + "\n");
  CHECK(told.err.find("tokens accepted") != std::string::npos);
  CHECK(w.ok(with(words, {"--draft", "runs/small", "-q"})).err.empty());
}

TEST_CASE("cli generate --draft: what can't draft is refused by name") {
  const TrainedWorld w({"train.max_steps=20"});
  const auto other = [&](const std::string& name, const Words& changes) {
    w.ok(with({"train", "tiny.yaml", "-q", "--name", name}, sets(with({"train.max_steps=5"}, changes))));
  };
  const auto refused = [&](const Words& more, const Words& says) {
    w.ends(with({"generate", "runs/tiny", "-n", "5"}, more), 2, says);
  };
  other("bytes", {"data={corpus: own, tokenizer: byte}"});
  refused({"--draft", "runs/bytes"}, {"--draft: ", "runs/bytes", "tokenizer (`byte`, not `char`)"});
  other("masked", {"objective={type: masked_diffusion}", "model.layers=[{mixer: {type: attention, heads: 2}}]"});
  refused({"--draft", "runs/masked"}, {"--draft: the draft predicts what noise hides"});
  w.ends({"generate", "runs/masked", "-n", "5", "--draft", "runs/tiny"}, 2, {"--draft: the model predicts"});
  w.ends({"generate", "runs/masked", "-n", "5", "--draft", "ngram"}, 2, {"--draft: the model predicts"});
  refused({"--draft-tokens", "3"}, {"--draft-tokens", "--draft"});
  refused({"--draft", "runs/bytes", "--draft-tokens", "0"}, {"--draft-tokens"});
  w.ends({"generate", "runs/tiny", "--draft", "runs/nowhere"}, 4, {"runs/nowhere"});
}
