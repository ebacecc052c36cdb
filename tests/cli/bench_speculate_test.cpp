// Speculative decoding beside plain decoding, from the command line.
#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli bench speculate: costs, acceptance, and the speed-up that they foretell beside the measured one") {
  const TrainedWorld w({"train.max_steps=20"});
  const Words quick = {"-n", "20", "-r", "2", "--draft-tokens", "1,3"};
  const json j = w.read(with({"bench", "speculate", "runs/tiny", "runs/tiny"}, quick));
  check_has(j, {{"model", "runs/tiny"}, {"draft", "runs/tiny"}, {"tokens", 20}, {"repetitions", 2}});
  REQUIRE(j.at("rows").size() == 2);
  for (size_t i = 0; i < 2; ++i) {
    const json& row = j.at("rows")[i];
    const double d = i ? 3 : 1;
    CHECK(row.at("draft_tokens") == d);
    CHECK(row.at("acceptance").get<double>() > 0.99);
    CHECK(row.at("tokens_per_call").get<double>() > (d + 1) / 1.4);
    CHECK(row.at("call_cost").get<double>() > 0.2);
    CHECK(row.at("draft_cost").get<double>() > 0.1);
    CHECK(row.at("predicted_speedup").get<double>() < d + 1);
    CHECK(row.at("measured_speedup") ==
          doctest::Approx(row.at("tokens_per_s").get<double>() / row.at("plain_tokens_per_s").get<double>()));
  }
  const json looked_up = w.read(with({"bench", "speculate", "runs/tiny", "ngram", "-t", "0"}, quick));
  CHECK(looked_up.at("rows")[0].at("draft_cost") == 0);
  const Words shown = with({"bench", "speculate", "runs/tiny", "runs/tiny", "-q"}, quick);
  CHECK(w.ok(shown).shows("20 tokens each time, 2 repetitions, costs in calls of the model over one token"));
  CHECK(w.ok(with(shown, {"--csv"})).out.starts_with("draft tokens,acceptance,tokens/call,read/call,cost of a call,"));
  w.ends({"bench", "speculate", "runs/tiny"}, 2, {"draft"});
  w.ends(with({"bench", "speculate", "runs/tiny", "runs/tiny", "--draft-tokens", "0"}, {}), 2, {"--draft-tokens"});
}
