// The numbers that different commands print of one run agree.
#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <regex>
#include <sstream>

#include "cli/system.h"
#include "data/corpus.h"
#include "eval/archive.h"
#include "eval/ngram.h"
#include "io/file.h"
#include "io/journal.h"
#include "io/safetensors.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

struct TrainedWorld : World {
  TrainedWorld() {
    const Ended r = effllm({"train", "tiny.yaml", "-q", "--set", "train.max_steps=60", "--set", "train.eval_every=30"});
    REQUIRE_MESSAGE(r.code == 0, r.err);
  }
  json read(std::vector<std::string> words) const {
    words.emplace_back("--json");
    const Ended r = effllm(words);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    CHECK(std::ranges::count(r.out, '\n') == 1);
    return json::parse(r.out);
  }
};

}  // namespace

TEST_CASE("cli eval: the loss is the journal's, the same in the file, and protocols order as context grows") {
  const TrainedWorld w;
  const json windows = w.read({"eval", "runs/tiny"});
  const effllm::JournalData journal = effllm::read_journal(w.scratch.path / "runs/tiny/metrics.jsonl");
  CHECK(windows.at("nats_per_token") == journal.find("val")->find("loss")->back());
  CHECK(windows.at("step") == 60);
  CHECK(json::parse(read_text(w.scratch.path / "runs/tiny/eval/val-windows.json")) == windows);
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
  CHECK(w.effllm({"eval", "runs/tiny", "--protocol", "slidng"}).err.find("Did you mean `sliding`?") !=
        std::string::npos);
  CHECK(w.effllm({"eval", "runs/tiny", "--split", "vla"}).code == 2);
  CHECK(w.effllm({"eval", "runs/tiny", "--corpus", "nowhere"}).code == 3);
}

TEST_CASE("cli eval: rivals are scored on the targets of the model, and are named so") {
  const TrainedWorld w;
  const json whole = w.read({"eval", "runs/tiny"}), part = w.read({"eval", "runs/tiny", "--max-tokens", "150"}),
             all = w.read({"eval", "runs/tiny", "--max-tokens", "1000000"});
  const effllm::Corpus corpus = effllm::Corpus::open((w.scratch.path / "data/own.yaml").string());
  const auto tokenizer = effllm::build_tokenizer("char", corpus.text());
  effllm::TokenizedText text = corpus.tokenize(*tokenizer, effllm::Split::val);
  text.tokens.resize(151);
  const double nats =
      effllm::NgramModel(corpus.tokenize(*tokenizer, effllm::Split::train).tokens, tokenizer->vocab_size(), 2)
          .score(text, false)
          .nats;
  const auto bits = [](const json& r, size_t i) { return r.at("baselines").at(i).at("bits_per_byte").get<double>(); };
  const auto name = [](const json& r, size_t i) { return r.at("baselines").at(i).at("name").get<std::string>(); };
  CHECK(name(part, 0) == "Kneser-Ney 2-gram");
  CHECK(bits(part, 0) == doctest::Approx(nats / std::log(2.0) / 150));
  const std::string train(corpus.text(effllm::Split::train)), first(corpus.text(effllm::Split::val).substr(0, 151));
  for (const auto& [result, scored] :
       {std::pair{part, first}, std::pair{whole, std::string(corpus.text(effllm::Split::val))}})
    for (const json& b : result.at("baselines")) {
      if (b.at("name") != "xz -9 (64 MiB back)") continue;
      const bool nothing = b.at("before") == "nothing";
      const int64_t bytes = nothing
                                ? effllm::filtered_bytes("xz", scored)
                                : effllm::filtered_bytes("xz", train + scored) - effllm::filtered_bytes("xz", train);
      CHECK(b.at("bits_per_byte") ==
            doctest::Approx(8.0 * static_cast<double>(bytes) / static_cast<double>(scored.size())));
      CHECK(b.at("before_bytes") == (nothing ? 0 : train.size()));
    }
  CHECK(all.at("baselines") == whole.at("baselines"));
}

TEST_CASE("cli eval: a result keeps its name for itself, and one that can't be kept is printed all the same") {
  const TrainedWorld w;
  const auto folder = w.scratch.path / "runs/tiny/eval";
  const json own = w.read({"eval", "runs/tiny", "--no-baselines"});
  REQUIRE(w.effllm({"data", "prepare", "own.txt", "--name", "twin"}).code == 0);
  std::string changed = read_text(w.scratch.path / "own.txt");
  write_text(w.scratch.path / "changed.txt", changed.substr(0, changed.size() / 2));
  REQUIRE(w.effllm({"data", "prepare", "changed.txt"}).code == 0);
  for (const auto& [more, name] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"--max-tokens", "100"}, "val-windows-max_tokens_100.json"},
           {{"--tokens", "12"}, "val-windows-tokens_12.json"},
           {{"--tokens", "24"}, "val-windows.json"},  // the run's
           {{"--protocol", "sliding"}, "val-sliding.json"},
           {{"--protocol", "sliding", "--stride", "3"}, "val-sliding-stride_3.json"},
           {{"--corpus", "twin"}, "val-windows.json"},  // the same text
           {{"--corpus", "changed", "--allow-data-mismatch"}, "val-windows-corpus_"}}) {
    std::vector<std::string> words = {"eval", "runs/tiny", "--no-baselines"};
    words.insert(words.end(), more.begin(), more.end());
    const json r = w.read(words);
    bool found = false;
    for (const auto& e : std::filesystem::directory_iterator(folder))
      found = found || (e.path().filename().string().starts_with(name) && json::parse(read_text(e.path())) == r);
    CHECK_MESSAGE(found, name);
    if (name != "val-windows.json")
      CHECK(json::parse(read_text(folder / "val-windows.json")).at("nats_per_token") == own.at("nats_per_token"));
  }
  std::filesystem::remove_all(folder);
  write_text(folder, "in the way");
  const Ended r = w.effllm({"eval", "runs/tiny", "--no-baselines"});
  CHECK(r.code == 0);
  CHECK(r.out.find("nats/token") != std::string::npos);
  CHECK(r.err.starts_with("warning: the result is not kept with the run: "));
}

TEST_CASE("cli eval: what has no spread or no rivals shows none") {
  const TrainedWorld w;
  const Ended one = w.effllm({"eval", "runs/tiny", "--max-tokens", "20", "--no-baselines"});
  CHECK(one.out.find("nan") == std::string::npos);
  CHECK(one.out.find("+-") == std::string::npos);
  CHECK(std::ranges::count(one.out, '\n') == 2);
  const Ended many = w.effllm({"eval", "runs/tiny"});
  CHECK(many.out.find(" +- 0.") != std::string::npos);
  CHECK(w.effllm({"eval", "runs/tiny", "--stride", "3"}).code == 2);
  CHECK(w.effllm({"eval", "runs/tiny", "--protocol", "windows", "--stride", "3"}).code == 2);
}

TEST_CASE("cli: a trained model finds its corpus from anywhere, and needs none where it only says what it holds") {
  const TrainedWorld w;
  const std::string run = (w.scratch.path / "runs/tiny").string();
  Surroundings away = w.in;
  away.folder = w.scratch.path / "away";
  std::filesystem::create_directories(away.folder);
  const Ended far = w.effllm({"eval", run, "--no-baselines", "--json"}, &away);
  REQUIRE_MESSAGE(far.code == 0, far.err);
  CHECK(json::parse(far.out).at("nats_per_token") ==
        w.read({"eval", "runs/tiny", "--no-baselines"}).at("nats_per_token"));
  // Another corpus of that name is no reason to take it.
  write_text(away.folder / "t.txt", std::string(500, 'l'));
  REQUIRE(w.effllm({"data", "prepare", "t.txt", "--name", "own"}, &away).code == 0);
  CHECK(w.effllm({"eval", run, "--no-baselines"}, &away).code == 0);
  std::filesystem::remove_all(w.scratch.path / "data");
  CHECK(w.effllm({"eval", run}, &away).code == 3);
  std::filesystem::remove_all(away.folder / "data");
  CHECK(w.effllm({"eval", run}, &away).code == 3);
  CHECK(w.effllm({"describe", run}, &away).code == 0);
  CHECK(w.effllm({"export", run, "-o", "out"}, &away).code == 0);
  CHECK(w.effllm({"generate", run, "-p", "line", "-n", "5"}, &away).code == 0);
}

TEST_CASE("cli train, eval: bits per character count characters, of bytes too") {
  const World w;
  std::string text;
  for (int i = 0; i < 900; ++i) text += "über €" + std::to_string(i * 7919 % 1000) + " größer\n";
  write_text(w.scratch.path / "u.txt", text);
  REQUIRE(w.effllm({"data", "prepare", "u.txt"}).code == 0);
  REQUIRE(w.effllm({"train", "-q", "tiny.yaml", "--name", "u", "--set", "data={corpus: u, tokenizer: byte}", "--set",
                    "train.max_steps=10"})
              .code == 0);
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
  if (run_command({"/usr/bin/env", "python3", "-c", "import numpy"}, w.in).code != 0) {
    MESSAGE("there is no numpy to compare with");
    return;
  }
  write_text(w.scratch.path / "shared.yaml",
             "model:\n  d_model: 16\n  dropout: 0.1\n  init: {std: 0.3}\n  layers:\n"
             "    - repeat: 2\n      of: [{mixer: {type: min_gru, conv: 4}, ffn: mlp}]\n"
             "    - {id: top, mixer: {type: attention, heads: 4, kv_heads: 1, window: 6, sinks: 2}}\n"
             "    - use: top\n    - {mixer: {type: gla, heads: 2}, ffn: swiglu}\n    - use: top\n"
             "    - repeat: 2\n      of: [{mixer: {type: hgrn2, head_dim: 8}}]\n"
             "    - mixer: {type: parallel, branches: [hgrn, {type: min_gru}]}\n"
             "data: {corpus: documents, reset: document}\ntrain: {batch: 4, context: 40, max_steps: 5}\n"
             "eval: {sample_tokens: 1}\n");
  REQUIRE(w.effllm({"data", "prepare", "own.txt", "--name", "documents", "--separator", "3.\\n"}).code == 0);
  const Ended trained = w.effllm({"train", "-q", "shared.yaml"});
  REQUIRE_MESSAGE(trained.code == 0, trained.err);
  REQUIRE(w.effllm({"export", "runs/shared", "-o", "out"}).code == 0);
  REQUIRE(w.effllm({"eval", "runs/shared", "--no-baselines", "--save-logits", "l.safetensors"}).code == 0);
  CHECK(effllm::SafetensorsFile(w.scratch.path / "l.safetensors").find("segments"));
  const Ended r = run_command({"/usr/bin/env", "python3", std::string(kSourceDir) + "/scripts/golden/model_logits.py",
                               "out/model.safetensors", "l.safetensors"},
                              w.in);
  CHECK_MESSAGE(r.code == 0, (r.out + r.err));
  CHECK(r.err.empty());
}

TEST_CASE("cli generate: greedy is temperature 0 and top-k 1, and samples are the same texts however many there are") {
  const TrainedWorld w;
  const auto texts = [&](std::vector<std::string> more) {
    std::vector<std::string> words = {"generate", "runs/tiny", "-p", "line 4", "-n", "40"};
    words.insert(words.end(), more.begin(), more.end());
    return w.read(words).at("samples").get<std::vector<std::string>>();
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
  CHECK(w.effllm({"generate", "runs/tiny", "-p", "line 4", "-n", "40", "--samples", "3", "-t", "1"}).out ==
        "line 4" + three[0] + "\n---\nline 4" + three[1] + "\n---\nline 4" + three[2] + "\n");
  const std::string stop = three[0].substr(10, 2);
  CHECK(texts({"-t", "1", "--stop", stop, "--stop", "never"})[0] == three[0].substr(0, three[0].find(stop)));
  CHECK(w.effllm({"generate", "runs/tiny", "-p", "\xc3\xa9"}).code == 3);  // no such character in the vocabulary
  CHECK(w.effllm({"generate", "runs/tiny", "-t", "-1"}).code == 2);
  CHECK(w.effllm({"generate", "runs/tiny", "--top-p", "2"}).code == 2);
  CHECK(w.effllm({"generate", "runs/tiny", "--greedy", "-t", "0.5"}).code == 2);
}

TEST_CASE("cli export: the weights alone give the same text, and their sizes are the parameters that describe counts") {
  const TrainedWorld w;
  REQUIRE(w.effllm({"export", "runs/tiny", "-o", "out"}).code == 0);
  const std::vector<std::string> how = {"-p", "line", "-n", "30", "-t", "1", "--seed", "4"};
  std::vector<std::string> a = {"generate", "runs/tiny"}, b = {"generate", "out/model.safetensors"};
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
  CHECK(json::parse(read_text(w.scratch.path / "runs/tiny/provenance.json")).at("parameters") == parameters);
  const json config = json::parse(read_text(w.scratch.path / "out/effllm.json"));
  CHECK(config.at("model").at("d_model") == 16);
  CHECK(config.at("vocab_size") == described.at("vocab"));
  CHECK(w.effllm({"describe", "runs/tiny", "--set", "model.d_model=8"}).code == 2);
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

TEST_CASE("cli plot: the series are the journal's, over steps, tokens or seconds, of one run or several") {
  const TrainedWorld w;
  const effllm::JournalData journal = effllm::read_journal(w.scratch.path / "runs/tiny/metrics.jsonl");
  const json series = w.read({"plot", "runs/tiny", "-m", "train/loss", "-x", "tokens"});
  CHECK(series.at(0).at("y").get<std::vector<double>>() == *journal.find("train")->find("loss"));
  CHECK(series.at(0).at("x").get<std::vector<double>>() == *journal.find("train")->find("tokens"));
  CHECK(w.read({"plot", "runs/tiny", "runs/tiny"}).size() == 4);
  CHECK(w.read({"plot", "runs/tiny", "-m", "val/loss", "-x", "wall_s"}).at(0).at("x").size() == 2);
  const Ended ascii = w.effllm({"plot", "runs/tiny", "--ascii", "--width", "60", "--height", "8", "--log"});
  CHECK(ascii.code == 0);
  CHECK(std::ranges::all_of(ascii.out, [](char c) { return c == '\n' || (c >= ' ' && c <= '~'); }));
  CHECK(w.effllm({"plot", "nowhere"}).code == 3);
  CHECK(w.effllm({"plot", "nowhere"}).err.find("there is no such run folder") != std::string::npos);
  CHECK(w.effllm({"plot", "runs/tiny", "--width", "-5"}).code == 2);
  CHECK(w.read({"plot", "runs/tiny", "-m", "val/bpc", "-x", "tokens"}).at(0).at("x") == json{30 * 192, 60 * 192});
  REQUIRE(w.effllm({"train", "tiny.yaml", "-q", "--name", "young", "--set", "train.max_steps=2"}).code == 0);
  write_text(w.scratch.path / "runs/young/metrics.jsonl", "");
  const Ended young = w.effllm({"plot", "runs/young"});
  CHECK(young.code == 3);
  CHECK(young.err.find("runs/young: no rows of train/bpc or ") != std::string::npos);
  CHECK(w.effllm({"plot", "runs/tiny", "-m", "loss"}).code == 2);
}

TEST_CASE("cli plot: several metrics share a panel where they are of one quantity, and have others where not") {
  const TrainedWorld w;
  const std::vector<std::string> words = {"plot", "runs/tiny", "-m", "train/loss", "-m", "train/lr", "-m", "val/loss"};
  const json series = w.read(words);
  REQUIRE(series.size() == 3);
  CHECK(series.at(2).at("metric") == "val/loss");
  CHECK(series.at(2).at("run") == "runs/tiny");
  const auto with = [&](std::vector<std::string> more) {
    std::vector<std::string> all = words;
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  const std::string out = w.effllm(with({"--ascii", "--width", "60"})).out;
  const size_t loss = out.find("train/loss, val/loss\n"), lr = out.find("\ntrain/lr\n");
  REQUIRE(loss == 0);
  REQUIRE(lr != out.npos);
  CHECK(out.substr(0, lr).find("  *  train/loss\n  +  val/loss\n") != out.npos);
  CHECK(out.substr(lr).find("  *  train/lr\n") != out.npos);
  // Both axes of x end at the same step, though val/loss begins at 30.
  CHECK(w.effllm({"plot", "runs/tiny", "-m", "val/loss", "-m", "train/lr", "--ascii"}).out.find("  20 ") != out.npos);
  CHECK(w.read({"plot", "runs/tiny", "-m", "val/loss", "-m", "val/loss"}).size() == 1);
  CHECK(w.effllm({"plot", "runs/tiny", "-m", "val/loss", "-m", "val/none"}).code == 3);
}

TEST_CASE("cli plot: colours where they are wanted") {
  const TrainedWorld w;
  const auto coloured = [&](std::vector<std::string> more, const Surroundings* in = nullptr) {
    more.insert(more.begin(), {"plot", "runs/tiny"});
    const Ended r = w.effllm(more, in);
    CHECK(r.code == 0);
    return r.out.find("\x1b[36m") != r.out.npos && r.out.find("\x1b[33m") != r.out.npos;
  };
  CHECK_FALSE(coloured({}));  // no terminal
  CHECK(coloured({"--color", "always"}));
  CHECK(coloured({"--color", "always", "--ascii"}));
  CHECK_FALSE(coloured({"--color", "never"}));
  CHECK(w.effllm({"plot", "runs/tiny", "--color", "often"}).code == 2);
  // On a terminal, which script(1) makes.
  if (run_command({"/usr/bin/env", "script", "-qec", "true", "/dev/null"}, w.in).code != 0) return;
  Surroundings terminal = w.in;
  terminal.variables = {{"TERM", "xterm"}};
  const auto on_terminal = [&](const std::string& more, const std::string& before = "") {
    const Ended r = run_command(
        {"/usr/bin/env", "script", "-qec", before + std::string(kBinary) + " plot runs/tiny" + more, "/dev/null"},
        terminal);
    CHECK(r.out.find("train/bpc") != r.out.npos);
    return r.out.find("\x1b[36m") != r.out.npos;
  };
  CHECK(on_terminal(""));
  CHECK_FALSE(on_terminal(" --color never"));
  CHECK_FALSE(on_terminal("", "NO_COLOR=1 "));
  CHECK_FALSE(on_terminal("", "TERM=dumb "));
}

TEST_CASE("cli runs: a table of what the runs' own files say, and what is none of them is said") {
  const TrainedWorld w;
  const auto runs = w.scratch.path / "runs";
  const json status = json::parse(read_text(runs / "tiny/status.json"));
  REQUIRE(w.effllm({"train", "tiny.yaml", "-q", "--name", "killed", "--set", "train.max_steps=2"}).code == 0);
  json now = json::parse(read_text(runs / "killed/status.json"));
  CHECK(now.at("status") == "done");
  now["status"] = "running", now["progress"] = 0.25;  // as a kill leaves it
  write_text(runs / "killed/status.json", now.dump());
  std::filesystem::create_directories(runs / "notes");
  std::filesystem::create_directories(runs / ".cache");
  write_text(runs / "todo.txt", "mine");
  for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
           {"cut", R"({"status":"done","step":60,)"}, {"wrong", R"({"status":"done","step":"60"})"}, {"bare", "{}"}}) {
    std::filesystem::create_directories(runs / name);
    write_text(runs / name / "status.json", text);
    write_text(runs / name / "provenance.json", R"({"parameters": 5})");
  }
  std::filesystem::create_directories(runs / "lost");
  write_text(runs / "lost/metrics.jsonl", "");
  const json list = w.read({"runs"});
  CHECK(list.at("passed_over").size() == 1);
  CHECK(list.at("passed_over").at(0).at("name") == "notes");
  std::map<std::string, json> by_name;
  for (const json& r : list.at("runs")) by_name[r.at("name")] = r;
  REQUIRE(by_name.size() == 6);
  const json& tiny = by_name.at("tiny");
  CHECK(tiny.at("status") == "done");
  CHECK(tiny.at("best_loss") == status.at("best_val"));
  CHECK(tiny.at("parameters") == w.read({"describe", "tiny.yaml"}).at("total").at("parameters"));
  CHECK(tiny.at("tokens") == 60 * 8 * 24);
  CHECK(tiny.at("step") == 60);
  CHECK(tiny.at("wall_s") == status.at("wall_s"));
  CHECK(tiny.at("train_loss").get<double>() > 0);
  CHECK_FALSE(tiny.contains("problem"));
  CHECK(by_name.at("killed").at("status") == "killed");
  for (const char* name : {"cut", "wrong", "bare", "lost"}) {
    INFO(by_name.at(name).dump());
    CHECK(by_name.at(name).at("status") == "damaged");
    CHECK(by_name.at(name).at("problem").get<std::string>().find("runs/" + std::string(name) + "/status.json") !=
          std::string::npos);
  }
  CHECK(by_name.at("cut").at("parameters") == 5);
  const Ended text = w.effllm({"runs"});
  CHECK(text.code == 0);
  CHECK(std::ranges::count(text.out, '\n') == 7);
  CHECK(text.out.find("killed at 25 %") != text.out.npos);
  CHECK(text.err.find("notes: no run folder") != text.err.npos);
  CHECK(text.err.find("cut: runs/cut/status.json is not a JSON object") != text.err.npos);
  CHECK(text.err.find("wrong: runs/wrong/status.json: `step` is string") != text.err.npos);
  CHECK(w.effllm({"runs", "-q"}).err.find("notes") == std::string::npos);
  // One that trains holds its lock; to look does not disturb it.
  {
    const effllm::FileLock lock(runs / "killed");
    const json now_running = w.read({"runs"});
    for (const json& r : now_running.at("runs"))
      if (r.at("name") == "killed") CHECK(r.at("status") == "running");
  }
  std::filesystem::create_directories(w.scratch.path / "none");
  CHECK(w.effllm({"runs", "--runs", "none"}).out == "none: no runs yet\n");
  CHECK(w.read({"runs", "--runs", "none"}).at("runs").empty());
  CHECK(w.effllm({"runs", "--runs", "nowhere"}).code == 3);
}

TEST_CASE("cli train: each line of the log has its time") {
  const TrainedWorld w;
  std::istringstream log(read_text(w.scratch.path / "runs/tiny/log.txt"));
  const std::regex stamped(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  \S.*)");
  int lines = 0;
  for (std::string line; std::getline(log, line); ++lines) CHECK_MESSAGE(std::regex_match(line, stamped), line);
  CHECK(lines >= 3);
}

TEST_CASE("cli data and list: sizes add up, every name has a row") {
  const World w;
  const json own = json::parse(w.effllm({"data", "show", "own", "--json"}).out);
  int64_t bytes = 0;
  for (const char* split : {"train", "val", "test"}) bytes += own.at("splits").at(split).at("bytes").get<int64_t>();
  CHECK(bytes == own.at("bytes"));
  CHECK(bytes == static_cast<int64_t>(read_text(w.scratch.path / "own.txt").size()));
  const Ended uneven = w.effllm({"data", "prepare", "own.txt", "--name", "b", "--train", "0.5", "--val", "0.25",
                                 "--separator", "9.\\n", "--json", "-q"});
  CHECK(uneven.code == 0);
  CHECK(json::parse(w.effllm({"data", "show", "b", "--json"}).out).at("splits").at("train").at("documents") > 10);
  const std::string manifest = read_text(w.scratch.path / "data/own.yaml");
  CHECK(w.effllm({"data", "prepare", "own.txt", "--name", "own"}).code == 0);  // the same again
  for (const std::vector<std::string>& other :
       {std::vector<std::string>{"own.txt", "--train", "0.5"}, {"own.txt", "--separator", ":"}, {"tiny.yaml"}}) {
    std::vector<std::string> words = {"data", "prepare", "--name", "own"};
    words.insert(words.end(), other.begin(), other.end());
    const Ended refused = w.effllm(words);
    CHECK(refused.code == 2);
    CHECK(refused.err.find("data/own.yaml exists with another ") != std::string::npos);
    CHECK(refused.err.find("--force") != std::string::npos);
    CHECK(read_text(w.scratch.path / "data/own.yaml") == manifest);
    words.emplace_back("--force");
    CHECK(w.effllm(words).code == 0);
    CHECK(read_text(w.scratch.path / "data/own.yaml") != manifest);
    CHECK(w.effllm({"data", "prepare", "own.txt", "--name", "own", "--force"}).code == 0);
  }
  write_text(w.scratch.path / "data/notes.txt", "mine");
  CHECK(w.effllm({"data", "prepare", "own.txt", "--name", "notes"}).code == 2);
  CHECK(read_text(w.scratch.path / "data/notes.txt") == "mine");
  CHECK(w.effllm({"data", "prepare", "nothing.txt"}).code == 3);
  CHECK(w.effllm({"data", "prepare", "own.txt", "--train", "0.9", "--val", "0.2"}).code == 2);
  CHECK(w.effllm({"data", "show", "nothing"}).code == 3);
  for (const char* kind :
       {"mixers", "ffns", "objectives", "optimizers", "schedules", "orders", "tokenizers", "protocols"}) {
    const json rows = json::parse(w.effllm({"list", kind, "--json"}).out);
    const Ended markdown = w.effllm({"list", kind, "--markdown"});
    CHECK(rows.size() >= 1);
    for (const json& row : rows) {
      CHECK_FALSE(row.at("name").get<std::string>().empty());
      CHECK(markdown.out.find("| " + row.at("name").get<std::string>()) != std::string::npos);
    }
    CHECK(w.effllm({"list"}).out.find(kind) != std::string::npos);
  }
}

TEST_CASE("cli: --json gives one document for every command that has results") {
  const TrainedWorld w;
  const json ready = w.read({"train", "tiny.yaml", "--dry-run"});
  const json described = w.read({"describe", "tiny.yaml"});
  CHECK(ready.at("parameters") == described.at("total").at("parameters"));
  CHECK(ready.at("tokens_per_step") == 8 * 24);
  CHECK(ready.at("config_yaml").get<std::string>().find("d_model: 16") != std::string::npos);
  const json checked = w.read({"check", "tiny.yaml", "tiny.yaml"});
  REQUIRE(checked.size() == 2);
  CHECK(checked.at(0).at("parameters") == described.at("total").at("parameters"));
  const Ended wrong = w.effllm({"check", "tiny.yaml", "nothing.yaml", "--json"});
  CHECK(wrong.code == 2);
  CHECK(json::parse(wrong.out).at(0).at("exit_code") == 0);
  CHECK(json::parse(wrong.out).at(1).at("exit_code") == 2);
  CHECK(json::parse(wrong.out).at(1).at("error").get<std::string>().find("nothing.yaml") != std::string::npos);
  CHECK(w.read({"export", "runs/tiny", "-o", "out"}).at("model") == "out/model.safetensors");
  CHECK(w.read({"list"}).size() == 9);
  for (const char* kind : {"mixers", "ffns"}) {
    const json brief = w.read({"list", kind}), full = w.read({"list", kind, "--long"});
    REQUIRE(brief.size() == full.size());
    for (size_t i = 0; i < full.size(); ++i) {
      CHECK(full.at(i).at("name") == brief.at(i).at("name"));
      CHECK_FALSE(brief.at(i).contains("options"));
      CHECK(full.at(i).contains("deviations"));
      CHECK_FALSE(full.at(i).at("source").get<std::string>().empty());
      CHECK(full.at(i).at("options").at(0).contains("meaning"));
    }
  }
  const std::string markdown = w.effllm({"list", "mixers", "--long", "--markdown"}).out;
  CHECK(markdown.find("### gla: ") != std::string::npos);
  CHECK(markdown.find("- source: fla-org/flash-linear-attention@") != std::string::npos);
  CHECK(markdown.find("| rope_theta | float | 10000 |") != std::string::npos);
}

TEST_CASE("cli: numbers of threads that can't be meant are refused or cut down") {
  const World w;
  Surroundings odd = w.in;
  odd.variables = {{"EFFLLM_THREADS", "abc"}};
  const Ended r = w.effllm({"version"}, &odd);
  CHECK(r.code == 2);
  CHECK(r.err.find("EFFLLM_THREADS must be an integer above 0, not `abc`") != std::string::npos);
  CHECK(w.effllm({"version", "--threads", "1"}, &odd).code == 0);
  const Ended many = w.effllm({"version", "--threads", "1000000"});
  CHECK(many.code == 0);
  CHECK(many.err.starts_with("warning: 1000000 threads on "));
  CHECK(w.effllm({"describe", "tiny.yaml", "--threads", "1"}).out.find(" with 1 thread\n") != std::string::npos);
  odd.variables = {{"OMP_WAIT_POLICY", "active"}};
  CHECK(w.effllm({"doctor", "--threads", "2"}, &odd).out.find("set OMP_WAIT_POLICY=passive") != std::string::npos);
  odd.variables = {{"OMP_WAIT_POLICY", "PASSIVE"}};
  CHECK(w.effllm({"doctor"}, &odd).out.find("threads spin") == std::string::npos);
}
