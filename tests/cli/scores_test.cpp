// What `effllm eval` says of a run is what its journal, its logits and its rivals say.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "cli/trained.h"
#include "data/corpus.h"
#include "store/journal.h"
#include "store/safetensors.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli eval: the loss is the journal's, the same in the file, and protocols order as context grows") {
  const TrainedWorld w;
  const json windows = w.read({"eval", "runs/tiny"});
  const effllm::JournalData journal = effllm::read_journal(w.scratch.path / "runs/tiny/metrics.jsonl");
  CHECK(windows.at("nats_per_token") == journal.find("val")->find("loss")->back());
  CHECK(windows.at("step") == 60);
  CHECK(json::parse(slurp(w.scratch.path / "runs/tiny/eval/val-windows.json")) == windows);
  CHECK(windows.at("baselines").size() == 2 + 5 * 2);  // n-grams; compressors after nothing and after train
  CHECK(windows.at("left_out").empty());
  const json sliding = w.read({"eval", "runs/tiny", "--protocol", "sliding", "--stride", "1", "--no-baselines"}),
             carried = w.read({"eval", "runs/tiny", "--protocol", "carried", "--no-baselines"});
  CHECK_FALSE(sliding.contains("baselines"));
  CHECK(sliding.at("tokens") == windows.at("tokens"));
  CHECK(carried.at("tokens") == windows.at("tokens"));
  CHECK(sliding.at("nats_per_token") != windows.at("nats_per_token"));
  CHECK(carried.at("nats_per_token") != windows.at("nats_per_token"));
  CHECK(w.read({"eval", "runs/tiny", "--max-tokens", "100"}).at("tokens") == 100);
  CHECK(w.read({"eval", "runs/tiny/ckpt/step_000000060.safetensors", "--split", "test"}).at("split") == "test");
  CHECK(w.effllm({"eval", "runs/tiny", "--protocol", "slidng"}).says("Did you mean `sliding`?"));
  w.ends({"eval", "runs/tiny", "--split", "vla"}, 2);
  w.ends({"eval", "runs/tiny", "--corpus", "nowhere"}, 3);
}

TEST_CASE("cli eval: what is beyond the text is all there is, and a few bytes are no measure of a compressor") {
  const TrainedWorld w;
  const json whole = w.read({"eval", "runs/tiny"}), all = w.read({"eval", "runs/tiny", "--max-tokens", "1000000"});
  CHECK(all.at("baselines") == whole.at("baselines"));
  CHECK(all.at("protocol") == "windows of 24 tokens");
  CHECK_FALSE(std::filesystem::exists(w.scratch.path / "runs/tiny/eval/val-windows-max_tokens_1000000.json"));
  w.ends({"eval", "runs/tiny", "--tokens", "9999999999"}, 2,
         {"`--tokens` must be an integer of 1 to 1073741824, not `9999999999`"});
  const json few = w.read({"eval", "runs/tiny", "--max-tokens", "20"});
  CHECK(few.at("baselines").size() == 2);
  REQUIRE(few.at("left_out").size() == 1);
  CHECK(few.at("left_out").at(0).at("reason").get<std::string>().starts_with("the text has 21 bytes; below 1000 "));
}

TEST_CASE("cli eval: a result keeps its name for itself, and one that can't be kept is printed all the same") {
  const TrainedWorld w;
  const auto folder = w.scratch.path / "runs/tiny/eval";
  const json own = w.read({"eval", "runs/tiny", "--no-baselines"});
  w.ok({"data", "prepare", "own.txt", "--name", "twin"});
  std::string changed = slurp(w.scratch.path / "own.txt");
  spill(w.scratch.path / "changed.txt", changed.substr(0, changed.size() / 2));
  w.ok({"data", "prepare", "changed.txt"});
  for (const auto& [more, name] : std::vector<std::pair<Words, std::string>>{
           {{"--max-tokens", "100"}, "val-windows-max_tokens_100.json"},
           {{"--tokens", "12"}, "val-windows-tokens_12.json"},
           {{"--tokens", "24"}, "val-windows.json"},  // the run's
           {{"--protocol", "sliding"}, "val-sliding.json"},
           {{"--protocol", "carried"}, "val-carried.json"},
           {{"--protocol", "sliding", "--stride", "3"}, "val-sliding-stride_3.json"},
           {{"--corpus", "twin"}, "val-windows.json"},  // the same text
           {{"--corpus", "changed", "--allow-data-mismatch"}, "val-windows-corpus_"}}) {
    const json r = w.read(with({"eval", "runs/tiny", "--no-baselines"}, more));
    bool found = false;
    for (const auto& e : std::filesystem::directory_iterator(folder))
      found = found || (e.path().filename().string().starts_with(name) && json::parse(slurp(e.path())) == r);
    CHECK_MESSAGE(found, name);
    if (name != "val-windows.json")
      CHECK(json::parse(slurp(folder / "val-windows.json")).at("nats_per_token") == own.at("nats_per_token"));
  }
  std::filesystem::remove_all(folder);
  spill(folder, "in the way");
  const Ended r = w.ok({"eval", "runs/tiny", "--no-baselines"});
  CHECK(r.shows("nats/token"));
  CHECK(r.err.starts_with("warning: the result is not kept with the run: "));
}

TEST_CASE("cli eval: what has no spread or no rivals shows none") {
  const TrainedWorld w;
  const Ended one = w.effllm({"eval", "runs/tiny", "--max-tokens", "20", "--no-baselines"});
  CHECK_FALSE(one.shows("nan"));
  CHECK_FALSE(one.shows("+-"));
  CHECK(std::ranges::count(one.out, '\n') == 3);
  const Ended many = w.effllm({"eval", "runs/tiny"});
  CHECK(many.shows(" +- 0."));
  w.ends({"eval", "runs/tiny", "--stride", "3"}, 2);
  w.ends({"eval", "runs/tiny", "--protocol", "windows", "--stride", "3"}, 2);
}

TEST_CASE("cli train, eval: bits per character count characters, of bytes too") {
  const World w;
  std::string text;
  for (int i = 0; i < 900; ++i) text += "über €" + std::to_string(i * 7919 % 1000) + " größer\n";
  spill(w.scratch.path / "u.txt", text);
  w.ok({"data", "prepare", "u.txt"});
  w.ok({"train", "-q", "tiny.yaml", "--name", "u", "--set", "data={corpus: u, tokenizer: byte}", "--set",
        "train.max_steps=10"});
  const effllm::Corpus corpus = effllm::Corpus::open((w.scratch.path / "data/u.yaml").string());
  const auto characters = [](std::string_view s) {
    return std::ranges::count_if(s, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
  };
  const effllm::JournalData journal = effllm::read_journal(w.scratch.path / "runs/u/metrics.jsonl");
  const auto check = [&](const char* kind, std::string_view part) {
    const double each = static_cast<double>(part.size()) / static_cast<double>(characters(part));
    CHECK(each > 1.2);
    CHECK(journal.find(kind)->find("bpc")->back() ==
          doctest::Approx(journal.find(kind)->find("loss")->back() / std::log(2.0) * each).epsilon(1e-9));
  };
  check("train", corpus.text(effllm::Split::train));
  check("val", corpus.text(effllm::Split::val).substr(1));  // the first byte is no target
}

TEST_CASE(
    "cli: the numpy transcription agrees with the logits of a model with shared layers and parameters, documents") {
  const World w;
  if (run_command({"/usr/bin/env", "python3", "-c", "import numpy, yaml"}, w.in).code != 0) {
    MESSAGE("there is no numpy, or no PyYAML, to compare with");
    return;
  }
  spill(w.scratch.path / "shared.yaml",
        "model:\n  d_model: 16\n  dropout: 0.1\n  init: {std: 0.3}\n  layers:\n"
        "    - repeat: 2\n      of: [{mixer: {type: min_gru, conv: 4}, ffn: mlp}]\n"
        "    - {id: top, mixer: {type: attention, heads: 4, kv_heads: 1, window: 6, sinks: 2, value_residual: 0.3}}\n"
        "    - use: top\n    - {mixer: {type: gla, heads: 2}, ffn: swiglu}\n    - use: top\n"
        "    - repeat: 2\n      of: [{mixer: {type: hgrn2, head_dim: 8}}]\n"
        "    - mixer: {type: parallel, branches: [hgrn, {type: min_gru}]}\n"
        "data: {corpus: documents, reset: document}\ntrain: {batch: 4, context: 40, max_steps: 5}\n"
        "eval: {sample_tokens: 1}\n");
  w.ok({"data", "prepare", "own.txt", "--name", "documents", "--separator", "3.\\n"});
  w.ok({"train", "-q", "shared.yaml"});
  w.ok({"export", "runs/shared", "-o", "out"});
  w.ok({"eval", "runs/shared", "--no-baselines", "--save-logits", "l.safetensors"});
  CHECK(effllm::SafetensorsFile(w.scratch.path / "l.safetensors").find("segments"));
  const std::string script = std::string(kSourceDir) + "/scripts/golden/model_logits.py";
  const Ended r = run_command({"/usr/bin/env", "python3", script, "out/model.safetensors", "l.safetensors"}, w.in);
  CHECK_MESSAGE(r.code == 0, (r.out + r.err));
  CHECK(r.err.empty());

  spill(w.scratch.path / "without/yaml.py", "raise ModuleNotFoundError('as if there were none', name='yaml')\n");
  const Ended without = run_command(
      {"/usr/bin/env", "PYTHONPATH=without", "python3", script, "out/model.safetensors", "l.safetensors"}, w.in);
  CHECK(without.code == 2);
  CHECK(without.err == "error: there is no Python module yaml: apt-get install python3-numpy python3-yaml\n");
}

TEST_CASE("cli eval: --save-logits writes what the loss is made of") {
  const TrainedWorld w;
  const json r =
      w.read({"eval", "runs/tiny", "--max-tokens", "23", "--no-baselines", "--save-logits", "l.safetensors"});
  const effllm::SafetensorsFile file(w.scratch.path / "l.safetensors");
  const auto *logits = file.find("logits"), *tokens = file.find("tokens");
  REQUIRE(logits);
  REQUIRE(tokens);
  CHECK(tokens->shape == std::vector<int64_t>{1, 24});
  const int64_t vocab = logits->shape[2];
  double nats = 0;
  for (int64_t t = 0; t < 23; ++t) {
    std::vector<float> row(static_cast<size_t>(vocab));
    std::memcpy(row.data(), logits->data + static_cast<size_t>(t * vocab) * 4, row.size() * 4);
    int32_t target = 0;
    std::memcpy(&target, tokens->data + static_cast<size_t>(t + 1) * 4, 4);
    double sum = 0;
    for (float x : row) sum += std::exp(static_cast<double>(x));
    nats += std::log(sum) - static_cast<double>(row[static_cast<size_t>(target)]);
  }
  CHECK(nats / 23 == doctest::Approx(r.at("nats_per_token").get<double>()).epsilon(1e-5));
}
