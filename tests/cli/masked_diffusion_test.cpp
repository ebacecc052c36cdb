// What the program says of a run whose score is a bound, and what belongs to such runs alone.
#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli: a bound is printed with <=, its error and the order of the text beside, and kept by its draws") {
  const TrainedWorld w({"objective.type=masked_diffusion", "model.layers=[{mixer: {type: attention, heads: 2}}]",
                        "train.max_steps=20", "eval.sample_tokens=10"});
  const json usual = w.read({"eval", "runs/tiny", "--no-baselines"});
  check_has(usual, {{"bound", true}, {"bound_samples", 2}, {"seed", 1}});
  CHECK(usual.at("bound_stderr").get<double>() > 0);
  CHECK(usual.at("protocol").get<std::string>().find("any order, 2 draws of seed 1") != std::string::npos);
  const Words part = {"eval", "runs/tiny", "--max-tokens", "64"};
  const Ended shown = w.ok(with(part, {"--bound-samples", "3", "--seed", "7", "--left-to-right"}));
  for (const char* text : {"\n  <= ", "nats/token of it is from the draws", "\n  left to right: ", "this model", "<= "})
    CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
  const json kept =
      json::parse(slurp(w.scratch.path / "runs/tiny/eval/val-windows-bound_samples_3-seed_7-max_tokens_64.json"));
  CHECK(kept.at("left_to_right").at("nats_per_token").get<double>() > 0);
  CHECK(w.read(with(part, {"--bound-samples", "1", "--no-baselines"})).at("bound_stderr").is_null());
  CHECK(w.read({"runs"}).at("runs").at(0).at("bound") == true);
  CHECK(w.ok({"runs"}).out.find("<= ") != std::string::npos);
  w.ends({"eval", "runs/tiny", "--protocol", "carried"}, 2, {"carries no state"});
  const auto text = [&](const Words& more) {
    return w.read(with({"generate", "runs/tiny", "-n", "12"}, more)).at("samples").at(0).get<std::string>();
  };
  CHECK(text({}) == text({"--steps", "12"}));
  CHECK(text({"--steps", "1"}) != text({"--steps", "1", "--seed", "2"}));
  CHECK(text({"--greedy", "--block", "3", "--unmask", "confidence"}) ==
        text({"--greedy", "--block", "3", "--unmask", "confidence", "--seed", "9"}));
  w.ends({"generate", "runs/tiny", "--unmask", "surest"}, 2, {"ancestral, confidence"});
  CHECK(w.ok({"verify", "runs/tiny", "--tokens", "8"}).out.find("both sides are seen") != std::string::npos);
  CHECK(w.ok({"describe", "runs/tiny"}).out.find("decode: a run over") != std::string::npos);
}

TEST_CASE("cli: what belongs to bounds and masked tokens is refused elsewhere") {
  const TrainedWorld w({"train.max_steps=2"});
  for (const Words& more : {Words{"--bound-samples", "2"}, {"--seed", "2"}, {"--left-to-right"}})
    w.ends(with({"eval", "runs/tiny"}, more), 2, {"next_token gives a likelihood from left to right"});
  for (const Words& more : {Words{"--steps", "2"}, {"--block", "2"}, {"--unmask", "confidence"}})
    w.ends(with({"generate", "runs/tiny"}, more), 2, {"for models that predict masked tokens"});
}
