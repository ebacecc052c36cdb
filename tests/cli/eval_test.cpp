// Evaluations of a file, and where a run puts its own.
#include <cmath>

#include "cli/trained.h"
#include "data/corpus.h"
#include "store/hdf5_read.h"
#include "store/journal.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

struct ShortRun : TrainedWorld {
  explicit ShortRun(const Words& changes = {}) : TrainedWorld(with({"train.max_steps=6"}, changes)) {}
  std::string split(effllm::Split s) const {
    return std::string(effllm::Corpus::open((scratch.path / "data/own.yaml").string()).text(s));
  }
};

}  // namespace

TEST_CASE("cli eval --text: a file of the test split's text gives the test split's figures") {
  const ShortRun w;
  spill(w.scratch.path / "held out.txt", w.split(effllm::Split::test));
  const json split = w.read({"eval", "runs/tiny", "--split", "test"}),
             file = w.read({"eval", "runs/tiny", "--text", "held out.txt"});
  for (const char* key : {"nats_per_token", "tokens", "bytes", "characters", "protocol", "baselines", "left_out"})
    CHECK_MESSAGE(split.at(key) == file.at(key), key);
  CHECK(split.at("baselines").size() == 2 + 5 * 3);
  CHECK(file.at("file") == "held out.txt");
  CHECK_FALSE(file.contains("split"));
  Words kept;
  for (const auto& e : std::filesystem::directory_iterator(w.scratch.path / "runs/tiny/eval"))
    kept.push_back(e.path().filename().string());
  std::ranges::sort(kept);
  const std::string hash = file.at("file_sha256").get<std::string>().substr(0, 12);
  CHECK(kept == Words{"test-windows.json", "text_" + hash + "-windows.json"});
  const Ended shown = w.effllm({"eval", "runs/tiny", "--text", "held out.txt", "--max-tokens", "100"});
  CHECK(shown.shows(" on held out.txt: windows of 24 tokens, first 100 targets\n"));
}

TEST_CASE("cli eval --text: what can't be scored is an error that names the file and the place") {
  const ShortRun w;
  spill(w.scratch.path / "a.txt", "line 4\xc3\xa9\n");
  spill(w.scratch.path / "b.txt", "");
  for (const auto& [file, code, says] :
       std::vector<std::tuple<std::string, int, std::string>>{{"a.txt", 3, "U+00E9"},
                                                              {"a.txt", 3, "a.txt: "},
                                                              {"a.txt", 3, "byte 6"},
                                                              {"b.txt", 3, "b.txt: the text is empty"},
                                                              {"c.txt", 3, "there is no file c.txt"}}) {
    const Ended r = w.ends({"eval", "runs/tiny", "--text", file}, code, {says});
    CHECK(r.out.empty());
  }
  for (const Words& more : {Words{"--split", "val"}, {"--corpus", "own"}, {"--allow-data-mismatch"}}) {
    w.ends(with({"eval", "runs/tiny", "--text", "own.txt"}, more), 2);
  }
}

TEST_CASE("cli eval --text: without the corpus of the training, the model is scored all the same") {
  const ShortRun w;
  spill(w.scratch.path / "t.txt", w.split(effllm::Split::test));
  const json right = w.read({"eval", "runs/tiny", "--text", "t.txt"});
  const auto poor = [&](const char* why) {
    const json j = w.read({"eval", "runs/tiny", "--text", "t.txt"});
    CHECK(j.at("nats_per_token") == right.at("nats_per_token"));
    CHECK(j.at("baselines").size() == 5);
    for (const json& b : j.at("baselines")) CHECK(b.at("before") == "nothing");
    REQUIRE(j.at("left_out").size() == 1);
    CHECK(j.at("left_out")[0].at("reason").get<std::string>().find(why) != std::string::npos);
  };
  w.ok({"data", "prepare", "t.txt", "--name", "own", "--force"});
  poor("the model was trained on another corpus than ");
  std::filesystem::remove_all(w.scratch.path / "data");
  poor("own");
}

TEST_CASE("cli train: evaluations on the training split are rows of their own, resumed or not") {
  const ShortRun w({"eval.split=train", "train.eval_every=2", "train.log_every=1"});
  const auto file = w.scratch.path / "runs/tiny/metrics.jsonl";
  const auto check = [&](int64_t steps) {
    const effllm::JournalData journal = effllm::read_journal(file);
    std::vector<int64_t> all, even;
    for (int64_t i = 1; i <= steps; ++i) {
      all.push_back(i);
      if (i % 2 == 0) even.push_back(i);
    }
    REQUIRE(journal.find("train"));
    CHECK(journal.find("train")->step == all);
    CHECK_FALSE(journal.find("train")->find("scored_tokens"));
    REQUIRE(journal.find("eval_train"));
    CHECK(journal.find("eval_train")->step == even);
    CHECK(effllm::read_hdf5_series(w.scratch.path / "runs/tiny/metrics.h5", "eval_train/bpc").size() == even.size());
  };
  check(6);
  w.ok({"train", "tiny.yaml", "-q", "--resume", "auto", "--set", "eval.split=train", "--set", "train.eval_every=2",
        "--set", "train.log_every=1", "--set", "train.max_steps=8"});
  check(8);
  const json curves = json::parse(w.effllm({"plot", "runs/tiny", "--json"}).out);
  REQUIRE(curves.size() == 2);
  CHECK(curves[1].at("name") == "eval_train/bpc");
  w.ok({"plot", "runs/tiny", "-m", "eval_train/loss"});
}

TEST_CASE("cli: eval prints training's choice of tokens beside the causal one, and keeps both") {
  const TrainedWorld w(
      {"model.layers=[{type: mod, capacity: 0.5, mixer: min_gru}, {mixer: min_gru}]", "train.max_steps=20"});
  const Words some = {"eval", "runs/tiny", "--no-baselines", "--max-tokens", "100"};
  const json both = w.read(some);
  const json& ahead = both.at("training_choice");
  CHECK(ahead.at("nats_per_token") != both.at("nats_per_token"));
  for (const char* metric : {"agreement", "causal_chosen", "router_mean"})
    CHECK_MESSAGE(ahead.at("layers").contains("layers.0." + std::string(metric)), metric);
  const Ended shown = w.ok(some);
  for (const char* text : {"\n  with training's choice of tokens, which looks ahead: ", "\n    agreement: 0."})
    CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
  CHECK_FALSE(w.read(with(some, {"--no-training-choice"})).contains("training_choice"));
}

TEST_CASE("cli eval --exit-layer: the loss after each layer in one pass, or of the model that ends there") {
  const ShortRun w;
  const Words eval = {"eval", "runs/tiny", "--no-baselines"};
  const json plain = w.read(eval), all = w.read(with(eval, {"--exit-layer", "all"}));
  REQUIRE(all.at("exits").size() == 3);
  CHECK(all.at("nats_per_token") == plain.at("nats_per_token"));
  CHECK_FALSE(plain.contains("exits"));
  for (size_t layers = 1; layers <= 3; ++layers) {
    const json& exit = all.at("exits")[layers - 1];
    const json alone = w.read(with(eval, {"--exit-layer", std::to_string(layers)}));
    CHECK(exit.at("layers") == layers);
    CHECK(alone.at("exit_layer") == layers);
    for (const char* key : {"nats_per_token", "bits_per_char", "bits_per_byte", "perplexity"})
      CHECK_MESSAGE(exit.at(key) == alone.at(key), key);
    CHECK(alone.at("protocol").get<std::string>().find("exit after layer") != std::string::npos);
  }
  for (const char* key : {"nats_per_token", "bits_per_char"}) CHECK(all.at("exits")[2].at(key) == plain.at(key));
  CHECK(all.at("exits")[2].at("agreement") == 1);
  CHECK(all.at("layers_needed").get<double>() >= 1);
  for (const char* name : {"val-windows.json", "val-windows-exit_all.json", "val-windows-exit_2.json"})
    CHECK_MESSAGE(std::filesystem::exists(w.scratch.path / "runs/tiny/eval" / name), name);
  const Ended shown = w.ok(with(eval, {"--exit-layer", "all", "--protocol", "carried"}));
  for (const char* text :
       {"exit after", "as the last", "1 layer ", "3 layers", "100.0 %", " of 3 layers in the mean\n"})
    CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
  for (const char* wrong : {"0", "4", "-1", "two", "2.5", "99999999999999999999"})
    w.ends(with(eval, {std::string("--exit-layer=") + wrong}), 2, {"the model has 3 layers; give 1 to 3, or all"});
}

TEST_CASE("cli eval --by-position: the loss by the tokens before, shown, in JSON and kept with the run") {
  const ShortRun w;
  const Words eval = {"eval", "runs/tiny", "--no-baselines"};
  const json plain = w.read(eval), j = w.read(with(eval, {"--by-position"}));
  CHECK_FALSE(plain.contains("by_position"));
  CHECK(j.at("nats_per_token") == plain.at("nats_per_token"));
  const json& rows = j.at("by_position");
  REQUIRE(rows.size() == 6);  // of windows of 24
  int64_t tokens = 0, bytes = 0, next = 1;
  double nats = 0;
  for (const json& row : rows) {
    CHECK(row.at("from") == next);
    next = row.at("to").get<int64_t>() + 1;
    tokens += row.at("tokens").get<int64_t>(), bytes += row.at("bytes").get<int64_t>();
    nats += row.at("tokens").get<double>() * row.at("nats_per_token").get<double>();
    CHECK(row.at("stderr_nats").get<double>() > 0);
    CHECK(row.at("bits_per_token").get<double>() ==
          doctest::Approx(row.at("nats_per_token").get<double>() / std::log(2)).epsilon(1e-12));
    CHECK(row.at("bits_per_char") == row.at("bits_per_token"));  // its tokens are characters
  }
  CHECK(next == 25);
  CHECK(tokens == j.at("tokens"));
  CHECK(bytes == j.at("bytes"));
  CHECK(nats / static_cast<double>(tokens) == doctest::Approx(j.at("nats_per_token").get<double>()).epsilon(1e-12));
  const json kept = json::parse(slurp(w.scratch.path / "runs/tiny/eval/val-windows-by_position.json"));
  CHECK(kept.at("by_position") == rows);
  const Ended shown = w.ok(with(eval, {"--by-position", "--tokens", "100"}));
  for (const char* text : {"tokens before", "bits/char", "\n17 to 24 ", "\n25 to 32 * ", "\n65 to 100 * ",
                           "  * more than the 24 tokens of training\n"})
    CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
  CHECK(w.ok(with(eval, {"--by-position"})).out.find("more than") == std::string::npos);
  const json carried = w.read(with(eval, {"--by-position", "--protocol", "carried"}));
  CHECK(carried.at("by_position").back().at("to") == carried.at("tokens"));
  CHECK(carried.at("by_position")[0].at("stderr_nats").is_null());
}

TEST_CASE("cli eval: the bytes that are counted are all bytes of the file or split, whatever the file holds") {
  const ShortRun w({"data.tokenizer=byte"});
  std::string bytes = w.split(effllm::Split::test).substr(0, 300);
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  spill(w.scratch.path / "any.bin", bytes + "\xe2\x82");  // ends within a character
  const auto counts = [&](const Words& more, size_t size) {
    const json j = w.read(with({"eval", "runs/tiny", "--no-baselines"}, more));
    CHECK(j.at("text_bytes") == size);
    CHECK(j.at("bytes").get<size_t>() + j.at("context_only").at("bytes").get<size_t>() +
              j.at("unread").at("bytes").get<size_t>() ==
          size);
    return j;
  };
  for (const char* protocol : {"windows", "sliding", "carried"}) {
    for (const char* split : {"train", "val", "test"})
      counts({"--protocol", protocol, "--split", split}, w.split(effllm::parse_split(split)).size());
    counts({"--protocol", protocol, "--text", "any.bin"}, std::filesystem::file_size(w.scratch.path / "any.bin"));
  }
  const json part = counts({"--max-tokens", "100", "--text", "any.bin"}, 558);
  CHECK(part.at("unread").at("bytes") == 457);
  CHECK(part.at("context_only").at("tokens") == 1);
  CHECK(w.ok({"eval", "runs/tiny", "--text", "any.bin"}).shows("\n  of 558 bytes: 557 scored, 1 context alone\n"));
  CHECK(w.ok({"eval", "runs/tiny", "--text", "any.bin", "--max-tokens", "100"})
            .shows("\n  of 558 bytes: 100 scored, 1 context alone, 457 not read\n"));
}

TEST_CASE("cli eval --lengths: a text in windows of several lengths, within training's and beyond, with its state") {
  const ShortRun w;
  const Words eval = {"eval", "runs/tiny", "--no-baselines"};
  const json j = w.read(with(eval, {"--lengths", "8,24,100"}));
  REQUIRE(j.at("lengths").size() == 3);
  CHECK(std::filesystem::exists(w.scratch.path / "runs/tiny/eval/val-windows-lengths_8_24_100.json"));
  for (const json& row : j.at("lengths")) {
    const std::string n = std::to_string(row.at("length").get<int64_t>());
    CAPTURE(n);
    const json alone = w.read(with(eval, {"--tokens", n}));
    for (const char* key : {"nats_per_token", "bits_per_char", "bits_per_byte", "stderr_nats"})
      CHECK_MESSAGE(row.at(key).get<double>() == doctest::Approx(alone.at(key).get<double>()).epsilon(1e-6), key);
    for (const char* key : {"tokens", "bytes", "characters"}) CHECK_MESSAGE(row.at(key) == alone.at(key), key);
    const json described = w.read({"describe", "tiny.yaml", "--set", "train.context=" + n});
    CHECK(row.at("state_bytes") == described.at("total").at("state_bytes"));
    CHECK(row.at("kv_bytes") == 8 * 2 * 16 * 4);  // a window of 9, the token itself in it
    if (row.at("length") != 100) {
      CHECK(row.at("beyond_training").is_null());
      CHECK(row.at("within_training").at("tokens") == row.at("tokens"));
      continue;
    }
    const json &within = row.at("within_training"), &beyond = row.at("beyond_training");
    CHECK(within.at("tokens").get<int64_t>() + beyond.at("tokens").get<int64_t>() == row.at("tokens").get<int64_t>());
    double nats = 0;
    const json bands = w.read(with(eval, {"--tokens", n, "--by-position"}));
    for (const json& b : bands.at("by_position"))
      if (b.at("from").get<int64_t>() > 24) nats += b.at("nats_per_token").get<double>() * b.at("tokens").get<double>();
    CHECK(nats / beyond.at("tokens").get<double>() ==
          doctest::Approx(beyond.at("nats_per_token").get<double>()).epsilon(1e-6));
  }
  const Ended shown = w.ok(with(eval, {"--lengths", "24,48"}));
  for (const char* text :
       {"of training's", "24  x 1 ", "48  x 2 ", "within", "beyond", "state",
        "\n  within, beyond: bits/char after at most as many tokens as training gave, and after more\n"})
    CHECK_MESSAGE(shown.out.find(text) != std::string::npos, text);
  CHECK(w.read(with(eval, {"--lengths", "48", "--protocol", "sliding"})).at("lengths")[0].at("tokens") ==
        j.at("tokens"));
  w.ends(with(eval, {"--lengths", "48", "--protocol", "carried"}), 2, {"choose --protocol windows or sliding"});
  w.ends(with(eval, {"--lengths", "48,1000000"}), 2, {"--lengths 1000000: val has "});
  w.ends(with(eval, {"--lengths", "48", "--max-tokens", "40"}), 2, {"40 tokens to predict from (--max-tokens)"});
  const ShortRun learned({"model.positions=learned", "model.layers=[{mixer: {type: attention, heads: 2}}]"});
  const Ended refused = learned.ends(with(eval, {"--lengths", "24,25"}), 2, {"learned positions for 24"});
  CHECK(refused.out.empty());
  CHECK(learned.read(with(eval, {"--lengths", "12,24"})).at("lengths")[0].at("state_bytes") == 12 * 2 * 16 * 4);
}
