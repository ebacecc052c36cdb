// effllm grow: what it says, and that every command takes what it wrote.
#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli grow: a larger model that trains on, evaluates, writes, verifies and exports") {
  const TrainedWorld w({"train.max_steps=20", "train.eval_every=0", "model.block.ffn={type: pattention, tokens: 8}",
                        "model.layers[2].ffn={type: pattention, nonlinearity: softmax, tokens: 8}"});
  const Words one = {"grow", "runs/tiny", "--set", "model.layers[0].ffn.tokens=12", "-o", "runs/large"};
  const Ended said = w.ok(one);
  CHECK(said.shows("runs/large: step 20 of runs/tiny/ckpt/"));
  CHECK(said.shows("model.layers[0].ffn.tokens: 8 -> 12\n  model.layers[0].ffn.scale_tokens: (not set) -> 8"));
  CHECK(said.shows("the function is kept; logits of 24 tokens differ by "));
  CHECK(said.says("train runs/large/config.yaml --resume auto"));
  w.ends(one, 2, {"runs/large exists: choose another folder (--output)"});
  w.ends({"grow", "runs/none", "--set", "model.layers[0].ffn.tokens=12", "-o", "runs/x"}, 4, {"no such run folder"});
  w.ends({"grow", "runs/tiny", "--set", "model.layers[0].ffn.tokens=2", "-o", "runs/x"}, 2, {"8 -> 2"});
  const json all = w.read({"grow", "runs/tiny", "--set", "model.layers[*].ffn.tokens=12", "-o", "runs/other"});
  check_has(all, {{"run", "runs/other"},
                  {"step", 20},
                  {"function_kept", false},
                  {"other_function", {"model.layers[2].ffn (softmax)"}},
                  {"parameters", all.at("parameters_before").get<int>() + 3 * 4 * 32}});
  CHECK(all.at("loss_before") != all.at("loss_after"));
  CHECK(all.at("changes").size() == 5);

  CHECK(w.read({"eval", "runs/large", "--no-baselines"}).at("step") == 20);
  w.ok({"generate", "runs/large", "-p", "line", "-n", "5"});
  w.ok({"verify", "runs/large", "--tokens", "12", "--type", "f64"});
  w.ok({"export", "runs/large", "-o", "out"});
  const auto listed = [&](const std::string& name) {
    const json all_runs = w.read({"runs"});
    for (const json& r : all_runs.at("runs"))
      if (r.at("name") == name) return r;
    return json();
  };
  check_has(listed("large"), {{"status", "grown"}, {"step", 20}});
  w.ok({"train", "runs/large/config.yaml", "--resume", "auto", "--set", "train.max_steps=30", "-q"});
  CHECK(w.effllm({"runs", "--json"}).out.find("\"large\"") != std::string::npos);
  CHECK(listed("large").at("status") == "done");
  // What has grown grows once more, and goes on.
  w.ok({"grow", "runs/large", "--set", "model.layers[0].ffn.tokens=16", "-o", "runs/larger"});
  w.ok({"train", "runs/larger/config.yaml", "--resume", "auto", "--set", "train.max_steps=40", "-q"});
  check_has(listed("larger"), {{"status", "done"}, {"step", 40}});
  const std::string log = slurp(w.scratch.path / "runs/larger/log.txt");
  CHECK(log.find("the model grew at step 20") < log.find("the model grew at step 30"));
  CHECK(log.find("the model grew at step 30") != std::string::npos);
  w.ok({"train", "runs/large/config.yaml", "--from", "runs/large", "--runs", "runs", "--name", "anew", "-q"});
}
