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
  CHECK(usual.at("protocol").get<std::string>().find("a bound by 2 draws of seed 1") != std::string::npos);
  const Words part = {"eval", "runs/tiny", "--max-tokens", "64"};
  const Ended shown = w.ok(with(part, {"--bound-samples", "3", "--seed", "7", "--left-to-right"}));
  for (const char* text :
       {"\n  <= ", "nats/token if one tells nothing of the next", "\n  left to right: ", "this model", "<= "})
    CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
  const json kept =
      json::parse(slurp(w.scratch.path / "runs/tiny/eval/val-windows-bound_samples_3-seed_7-max_tokens_64.json"));
  CHECK(kept.at("left_to_right").at("nats_per_token").get<double>() > 0);
  CHECK(w.read(with(part, {"--bound-samples", "1", "--no-baselines"})).at("bound_stderr").is_null());
  check_has(w.read({"runs"}).at("runs").at(0), {{"bound", true}, {"train_bound", true}});
  spill(w.scratch.path / "a.txt", "l");
  CHECK(w.ok({"eval", "runs/tiny", "--text", "a.txt"}).out.find("nan") == std::string::npos);
  CHECK(w.ok({"runs"}).out.find("<= ") != std::string::npos);
  w.ends({"eval", "runs/tiny", "--protocol", "carried"}, 2, {"carries no state"});
  w.ends({"eval", "runs/tiny", "--lengths", "12"}, 2, {"does not predict the tokens of a text one after the other"});
  w.ends({"eval", "runs/tiny", "--by-position"}, 2, {"leave the loss by position out"});
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
  for (const Words& more :
       {Words{"--bound-samples", "2"}, {"--seed", "2"}, {"--left-to-right"}, {"--pseudo-likelihood"}})
    w.ends(with({"eval", "runs/tiny"}, more), 2, {"next_token gives a likelihood from left to right"});
  for (const Words& more : {Words{"--steps", "2"}, {"--block", "2"}, {"--unmask", "confidence"}})
    w.ends(with({"generate", "runs/tiny"}, more), 2, {"for models that predict masked tokens"});
}

TEST_CASE(
    "cli: a pseudo-likelihood is printed by its name beside the bound, and the loss of training says what it is of") {
  const TrainedWorld w({"objective.type=masked_lm", "model.layers=[{mixer: {type: attention, heads: 2}}]",
                        "train.max_steps=10", "eval.sample_tokens=10"});
  const Words part = {"eval", "runs/tiny", "--max-tokens", "64", "--pseudo-likelihood"};
  const Ended shown = w.ok(with(part, {"--no-baselines"}));
  for (const char* text : {"\n  <= ", "all orders of the tokens", "a pseudo-likelihood, which bounds nothing): "})
    CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
  const json j = w.read(with(part, {"--no-baselines"}));
  CHECK(j.at("pseudo_likelihood").at("nats_per_token").get<double>() > 0);
  CHECK(j.at("bound") == true);
  check_has(w.read({"runs"}).at("runs").at(0), {{"bound", true}, {"train_bound", false}});
  CHECK(slurp(w.scratch.path / "runs/tiny/metrics.h5").find("cross entropy of the tokens that are predicted") !=
        std::string::npos);
}

TEST_CASE("cli: models of blocks, of prefixes and of random noise are trained, scored, verified and write") {
  const Words common = {"model.layers=[{mixer: {type: attention, heads: 2}, ffn: mlp}]", "train.max_steps=10",
                        "eval.sample_tokens=10"};
  {
    const TrainedWorld w(with(common, {"objective.type=block_diffusion", "objective.block=4"}));
    const Ended shown = w.ok({"eval", "runs/tiny", "--left-to-right", "--no-baselines"});
    for (const char* text : {"\n  <= ", "in each block of 4, given the blocks before", "left to right: "})
      CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
    const auto text = [&](const Words& more) {
      return w.read(with({"generate", "runs/tiny", "-n", "11"}, more)).at("samples").at(0).get<std::string>();
    };
    CHECK(text({"--block", "4"}) == text({}));
    CHECK(text({"--greedy", "--unmask", "confidence", "--steps", "2"}) ==
          text({"--greedy", "--unmask", "confidence", "--steps", "2", "--seed", "5"}));
    w.ends({"generate", "runs/tiny", "--block", "3"}, 2, {"writes blocks of 4 tokens"});
    w.ends({"eval", "runs/tiny", "--protocol", "carried"}, 2, {"carries no state"});
    CHECK(w.ok({"verify", "runs/tiny", "--tokens", "14"}).out.find("single blocks") != std::string::npos);
    w.ends({"verify", "runs/tiny", "--tokens", "7"}, 2, {"between blocks"});
    w.ok({"describe", "runs/tiny"});
  }
  {
    const TrainedWorld w(with(common, {"objective.type=uniform_diffusion", "objective.p_uniform=0.2"}));
    CHECK(w.ok({"eval", "runs/tiny", "--no-baselines"}).out.find("the diffusion in continuous time") !=
          std::string::npos);
    for (const char* flag : {"--left-to-right", "--pseudo-likelihood"})
      w.ends({"eval", "runs/tiny", flag}, 2, {"has no order of tokens"});
    CHECK(w.read({"generate", "runs/tiny", "-n", "9", "--steps", "3"}).at("samples").at(0) !=
          w.read({"generate", "runs/tiny", "-n", "9", "--steps", "3", "--seed", "2"}).at("samples").at(0));
    w.ends({"generate", "runs/tiny", "--block", "3"}, 2, {"from random tokens"});
  }
  {
    const TrainedWorld w(with(common, {"objective.type=prefix_lm"}));
    CHECK(w.ok({"eval", "runs/tiny", "--no-baselines"}).out.find("<= ") == std::string::npos);
    w.ends({"generate", "runs/tiny", "--steps", "3"}, 2, {"for models that predict masked tokens"});
    w.ends({"eval", "runs/tiny", "--protocol", "carried"}, 2, {"carries no state"});
    w.ok({"generate", "runs/tiny", "-n", "9", "--json"});
  }
}
