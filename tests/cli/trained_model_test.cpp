// A trained model from anywhere: its corpus, its text, its weights alone.
#include <numeric>

#include "cli/trained.h"
#include "store/safetensors.h"

using namespace effllm::test;
using nlohmann::json;

TEST_CASE("cli: a trained model finds its corpus from anywhere, and needs none where it only says what it holds") {
  const TrainedWorld w;
  const std::string run = (w.scratch.path / "runs/tiny").string();
  Surroundings away = w.in;
  away.folder = w.scratch.path / "away";
  std::filesystem::create_directories(away.folder);
  // Another corpus of that name is no reason to take it.
  spill(away.folder / "t.txt", std::string(500, 'l'));
  w.ok({"data", "prepare", "t.txt", "--name", "own"}, &away);
  std::filesystem::remove_all(w.scratch.path / "data");
  w.ends({"eval", run}, 3, {}, &away);
  std::filesystem::remove_all(away.folder / "data");
  w.ends({"eval", run}, 3, {}, &away);
  w.ok({"describe", run}, &away);
  w.ok({"export", run, "-o", "out"}, &away);
  w.ok({"generate", run, "-p", "line", "-n", "5"}, &away);
}

TEST_CASE("cli generate: greedy is temperature 0 and top-k 1, and samples are the same texts however many there are") {
  const TrainedWorld w;
  const auto texts = [&](Words more) {
    return w.read(with({"generate", "runs/tiny", "-p", "line 4", "-n", "40"}, more)).at("samples").get<Words>();
  };
  const auto greedy = texts({"--greedy"});
  CHECK(greedy == texts({"-t", "0"}));
  CHECK(greedy == texts({"--top-k", "1", "--seed", "9"}));
  CHECK(greedy[0].size() == 40);
  CHECK(w.effllm({"generate", "runs/tiny", "-p", "line 4", "-n", "40", "--greedy"}).out == "line 4" + greedy[0] + "\n");
  const auto three = texts({"--samples", "3", "-t", "1"});
  REQUIRE(three.size() == 3);
  CHECK(three[0] != three[1]);
  CHECK(texts({"-t", "1"})[0] == three[0]);
  CHECK(texts({"-t", "1", "--seed", "2"})[0] != three[0]);
  CHECK(w.effllm({"generate", "runs/tiny", "-p", "line 4", "-n", "40", "--samples", "3", "-t", "1"}).out ==
        "line 4" + three[0] + "\n---\nline 4" + three[1] + "\n---\nline 4" + three[2] + "\n");
  const std::string stop = three[0].substr(10, 2);
  CHECK(texts({"-t", "1", "--stop", stop, "--stop", "never"})[0] == three[0].substr(0, three[0].find(stop)));
  w.ends({"generate", "runs/tiny", "-p", "\xc3\xa9"}, 2);  // no such character in the vocabulary
  w.ends({"generate", "runs/tiny", "-t", "-1"}, 2);
  w.ends({"generate", "runs/tiny", "--top-p", "2"}, 2);
  w.ends({"generate", "runs/tiny", "--greedy", "-t", "0.5"}, 2);
}

TEST_CASE("cli export: the weights alone give the same text, and their sizes are the parameters that describe counts") {
  const TrainedWorld w;
  w.ok({"export", "runs/tiny", "-o", "out"});
  const Words how = {"-p", "line", "-n", "30", "-t", "1", "--seed", "4"};
  Words a = {"generate", "runs/tiny"}, b = {"generate", "out/model.safetensors"};
  a.insert(a.end(), how.begin(), how.end()), b.insert(b.end(), how.begin(), how.end());
  CHECK(w.effllm(a).out == w.effllm(b).out);
  const effllm::SafetensorsFile file(w.scratch.path / "out/model.safetensors");
  int64_t parameters = 0;
  for (const auto& t : file.tensors()) {
    CHECK_FALSE(t.name.starts_with("opt."));
    parameters += std::accumulate(t.shape.begin(), t.shape.end(), int64_t{1}, std::multiplies<>());
  }
  const json described = w.read({"describe", "tiny.yaml"}), of_run = w.read({"describe", "runs/tiny"});
  CHECK(described.at("total") == of_run.at("total"));
  CHECK(described.at("total").at("parameters") == parameters);
  CHECK(json::parse(slurp(w.scratch.path / "runs/tiny/provenance.json")).at("parameters") == parameters);
  const json config = json::parse(slurp(w.scratch.path / "out/effllm.json"));
  CHECK(config.at("model").at("d_model") == 16);
  CHECK(config.at("vocab_size") == described.at("vocab"));
  w.ends({"describe", "runs/tiny", "--set", "model.d_model=8"}, 2);
  // What is there is replaced only where that is asked for.
  spill(w.scratch.path / "out/effllm.json", "mine");
  w.ends({"export", "runs/tiny", "-o", "out"}, 2,
         {"out/model.safetensors exists: choose another folder (--output), or replace it with --force"});
  CHECK(slurp(w.scratch.path / "out/effllm.json") == "mine");
  w.ok({"export", "runs/tiny", "-o", "out", "--force"});
  CHECK(json::parse(slurp(w.scratch.path / "out/effllm.json")) == config);
  w.ends({"export", "runs/tiny", "-o", "tiny.yaml/out"}, 5,
         {"the folder tiny.yaml/out can't be made: Not a directory"});
}

TEST_CASE("cli export: a tokenizer for other libraries, beside the weights and not over what is there") {
  const TrainedWorld w;
  w.ok({"export", "runs/tiny", "-o", "out"});
  CHECK(w.read({"export", "runs/tiny", "--format", "tokenizer", "-o", "out"}).at("tokenizer") == "out/tokenizer.json");
  const json vocab = json::parse(slurp(w.scratch.path / "out/tokenizer.json")).at("model").at("vocab");
  CHECK(vocab.size() == w.read({"describe", "runs/tiny"}).at("vocab"));
  const json config = json::parse(slurp(w.scratch.path / "out/tokenizer_config.json"));
  CHECK(config.at("model_max_length") == 24);
  w.ends({"export", "runs/tiny", "--format", "tokenizer", "-o", "out"}, 2, {"out/tokenizer.json exists"});
  w.ok({"export", "runs/tiny", "--format", "tokenizer", "-o", "out", "--force"});
  w.ends({"export", "runs/tiny", "--format", "onnx", "-o", "new"}, 2, {"weights, tokenizer"});
}
