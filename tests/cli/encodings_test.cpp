// Corpora that are not English prose: other encodings, other alphabets, other paths.
#include <cmath>

#include "base/json.h"
#include "cli/system.h"
#include "data/corpus.h"
#include "store/hdf5_read.h"
#include "store/journal.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

// Russian of lower-case letters in CP866, where a to p are 0xA0 to 0xAF: all of its bytes but the blank look like the
// later bytes of UTF-8 sequences.
std::string cp866_text() {
  std::string text;
  for (int i = 0; i < 3000; ++i) {
    for (int k = 0; k <= i % 5; ++k) text += static_cast<char>(0xA0 + (i * 7 + k * k * 3 + i * k) % 16);
    if (i % 3 == 0) text += ' ';
  }
  return text;
}

Words train_words(const std::string& corpus, const std::string& tokenizer) {
  return {"train",  "tiny.yaml",
          "--name", corpus,
          "--set",  "data={corpus: " + corpus + ", tokenizer: " + tokenizer + "}",
          "--set",  "train.max_steps=4"};
}

}  // namespace

TEST_CASE("cli: a text that is not UTF-8 is told in bits per byte everywhere, and never in infinities") {
  const World w;
  std::string letters = cp866_text();  // without blanks no byte begins a character of UTF-8
  std::erase(letters, ' ');
  for (const auto& [name, text] : {std::pair{"words", cp866_text()}, {"letters", letters}}) {
    spill(w.scratch.path / (std::string(name) + ".txt"), text);
    const Ended prepared = w.ok({"data", "prepare", std::string(name) + ".txt"});
    CHECK(prepared.shows("not UTF-8"));
    CHECK(prepared.shows("bits per byte"));
    CHECK(w.effllm({"data", "show", name}).shows("not UTF-8"));
    const json shown = json::parse(w.effllm({"data", "show", name, "--json"}).out);
    CHECK(shown.at("text") == "bytes");
    CHECK(shown.at("characters").is_null());

    const Ended trained = w.ends(train_words(name, "byte"), 0, {"bits/byte"});
    CHECK_FALSE(trained.says("bits/char"));
    CHECK_FALSE(trained.says("inf"));
    const auto run = w.scratch.path / "runs" / name;
    CHECK(slurp(run / "log.txt").find("bits/char") == std::string::npos);
    const effllm::JournalData journal = effllm::read_journal(run / "metrics.jsonl");
    for (const char* kind : {"train", "val"}) {
      CHECK_FALSE(journal.find(kind)->find("bpc"));
      CHECK(journal.find(kind)->find("bpb")->back() ==
            doctest::Approx(journal.find(kind)->find("loss")->back() / std::log(2.0)).epsilon(1e-9));
    }
    CHECK(effllm::read_hdf5_series(run / "metrics.h5", "train/bpb").size() == 1);
    CHECK_THROWS(effllm::read_hdf5_series(run / "metrics.h5", "train/bpc"));

    const std::string folder = run.string();
    const json result = json::parse(w.effllm({"eval", folder, "--json"}).out);
    CHECK(result.at("text") == "bytes");
    CHECK(result.at("bits_per_char").is_null());
    CHECK(result.at("characters").is_null());
    CHECK(result.at("bits_per_byte").get<double>() ==
          doctest::Approx(result.at("nats_per_token").get<double>() / std::log(2.0)).epsilon(1e-9));
    CHECK(result.at("bits_per_byte").get<double>() < 8.5);
    const Ended told = w.effllm({"eval", folder, "--no-baselines"});
    CHECK(told.shows("bits/byte"));
    CHECK_FALSE(told.shows("bits/char"));
    const Ended curve = w.ok({"plot", folder, "--ascii"});
    CHECK(curve.shows("bits per byte"));
    w.ok({"generate", folder, "-n", "5", "--json"});
  }
  w.ends(train_words("words", "char"), 3, {"data/words.txt: the text is not UTF-8 at byte"});
}

TEST_CASE("cli: a byte order mark at the head of a text is told wherever the text goes in") {
  const World w;
  const std::string text = "\xef\xbb\xbf" + slurp(w.scratch.path / "own.txt");
  spill(w.scratch.path / "marked.txt", text);
  w.ends({"data", "prepare", "marked.txt"}, 0, {"warning: the text begins with a byte order mark (U+FEFF)"});
  CHECK(w.effllm({"data", "show", "marked"}).says("byte order mark"));
  CHECK(json::parse(w.effllm({"data", "show", "marked", "--json"}).out).at("byte_order_mark") == true);
  CHECK(json::parse(w.effllm({"data", "show", "own", "--json"}).out).at("byte_order_mark") == false);
  CHECK(w.effllm({"data", "show", "own"}).err.empty());
  w.ok(train_words("own", "byte"));
  w.ends({"eval", "runs/own", "--no-baselines", "--text", "marked.txt"}, 0,
         {"warning: marked.txt begins with a byte order mark"});
  CHECK(w.effllm({"generate", "runs/own", "--prompt-file", "marked.txt", "-n", "1"}).says("byte order mark"));
}

TEST_CASE("cli generate: bytes that are no UTF-8 come out of JSON as they went in") {
  const World w;
  w.ok(train_words("own", "byte"));
  const Words words = {"generate", "runs/own", "-p", "\xff\xfe", "-n", "64", "-t", "3", "--samples", "2"};
  Words as_json = words, raw = words;
  as_json.emplace_back("--json"), raw.emplace_back("--raw");
  const json j = json::parse(w.effllm(as_json).out);
  CHECK(j.at("prompt_base64") == "//4=");
  const std::string printed = w.effllm(raw).out;
  REQUIRE(j.at("samples_base64").size() == 2);
  const auto bytes = [&](size_t i) {
    const std::string encoded = j.at("samples_base64").at(i);
    const Ended r = run_command({"/bin/sh", "-c", "printf %s '" + encoded + "' | base64 -d"}, w.in);
    CHECK(r.code == 0);
    return r.out;
  };
  CHECK(printed == "\xff\xfe" + bytes(0) + "\n---\n\xff\xfe" + bytes(1) + "\n");
  CHECK(j.at("samples").at(0).get<std::string>().find("\xef\xbf\xbd") != std::string::npos);  // what JSON can't hold
}

TEST_CASE("cli: plots of texts with and without characters share the unit that both have") {
  const World w;
  spill(w.scratch.path / "words.txt", cp866_text());
  w.ok({"data", "prepare", "words.txt"});
  w.ok(train_words("words", "byte"));
  w.ok(train_words("own", "byte"));
  const auto names = [&](const Words& runs) {
    Words words = with({"plot", "--json"}, runs);
    Words all;
    for (const auto& s : json::parse(w.effllm(words).out)) all.push_back(s.at("name"));
    return all;
  };
  using Names = Words;
  CHECK(names({"runs/own"}) == Names{"train/bpc", "val/bpc"});
  CHECK(names({"runs/words", "runs/own"}) ==
        Names{"runs/words train/bpb", "runs/words val/bpb", "runs/own train/bpb", "runs/own val/bpb"});
}

TEST_CASE("cli: a corpus of characters without a line break trains, and what is suggested after it works") {
  const World w;
  std::string plain, cyrillic, dna;
  const char* const kWords[] = {"в", "начале", "сотворил", "небо", "и", "землю"};
  for (int i = 0; i < 1500; ++i) {
    plain += std::string(i ? " " : "") + (i % 3 ? "anarchism" : i % 2 ? "originated" : "as");
    cyrillic += std::string(i ? " " : "") + kWords[i * i % 6];
    dna += std::string(1, "GATC"[i * i % 4]) + "ACGT"[i % 3] + "TTAGC"[i * 7 % 5];
  }
  for (const auto& [name, text] : {std::pair{"plain", plain}, {"cyrillic", cyrillic}, {"dna", dna}}) {
    spill(w.scratch.path / (std::string(name) + ".txt"), text);
    w.ok({"data", "prepare", std::string(name) + ".txt"});
    const Ended trained = w.ok(train_words(name, "char"));
    const std::string run = std::string("runs/") + name, before = " generate " + run + " -p ";
    const auto at = trained.err.find(before);
    REQUIRE(at != std::string::npos);
    std::string prompt = trained.err.substr(at + before.size());
    prompt.erase(prompt.find('\n'));
    if (prompt.starts_with('\'')) prompt = prompt.substr(1, prompt.size() - 2);
    CHECK(text.starts_with(prompt));
    w.ok({"check", kSourceDir + std::string("/configs/quickstart.yaml"), "--set",
          "data.corpus=" + (w.scratch.path / "data" / name).string() + ".yaml", "--set", "data.tokenizer=char"});
    const Ended generated = w.ok({"generate", run, "-p", prompt, "-n", "5"});
    CHECK(generated.out.starts_with(prompt));
    w.ok({"generate", run, "-n", "5"});

    Words given = train_words(name, "char");
    given.insert(given.end(), {"--set", "eval.prompt=\"Q\\n\""});
    const Ended refused = w.ends(given, 2, {"eval.prompt: `Q` (U+0051)"});
    CHECK_FALSE(refused.says("tokenizer `byte`"));
    CHECK(w.effllm({"generate", run, "-p", "\\n"}).says("`\\n` (U+000A)"));
  }
}

TEST_CASE("cli: paths that are not UTF-8 are carried through, as JSON and from another folder too") {
  const World w;
  const auto folder = w.scratch.path / "d\xe9j\xe0";
  std::filesystem::create_directory(folder);
  for (const char* name : {"data", "tiny.yaml", "own.txt"})
    std::filesystem::copy(w.scratch.path / name, folder / name, std::filesystem::copy_options::recursive);
  const Surroundings inside{.folder = folder, .variables = {}};
  const Words few = {"--set", "train.max_steps=3"};
  const Ended trained = w.ok(with({"train", "tiny.yaml", "--json", "--runs", "r\xfcns"}, few), &inside);
  CHECK(json::parse(trained.out).at("steps") == 3);
  const std::string run = (folder / "r\xfcns/tiny").string();
  std::filesystem::rename(w.scratch.path / "data", w.scratch.path / "away");  // the recorded place alone is left
  for (const Words& words : {Words{"eval", run, "--no-baselines"},
                             {"eval", run, "--no-baselines", "--save-logits", folder / "l.st"},
                             {"generate", run, "-p", "line", "-n", "3"},
                             {"describe", run},
                             {"plot", run, "-m", "train/loss"},
                             {"verify", run, "--tokens", "8", "--type", "f64"},
                             {"export", run, "-o", folder / "out"},
                             {"data", "show", folder / "data/own.yaml"},
                             {"data", "prepare", folder / "own.txt", "--data", folder / "more"}}) {
    const Ended r = w.effllm(with(words, {"--json"}));
    INFO(words[0] << " " << r.err);
    CHECK(r.code == 0);
    CHECK(json::accept(r.out));
    CHECK_FALSE(r.says("json.exception"));
  }
  const Ended checked = w.ok({"check", folder / "tiny.yaml", "--json"}, &inside);
  CHECK(json::accept(checked.out));
  const Ended longer = w.ok(
      {"train", "tiny.yaml", "--runs", "r\xfcns", "--resume", "auto", "--set", "train.max_steps=5", "--json"}, &inside);
  CHECK(json::parse(longer.out).at("steps") == 5);

  // What goes into a configuration must be text, wherever it comes from.
  const auto before = std::filesystem::exists(w.scratch.path / "runs");
  const std::string bad = "data.corpus=" + (folder / "data/own.yaml").string();
  w.ends({"train", (folder / "tiny.yaml").string(), "--set", bad}, 2);
  spill(w.scratch.path / "env.yaml", "base: tiny.yaml\ndata: {corpus: \"${env:PLACE}\"}\n");
  const Surroundings variable{.folder = w.scratch.path, .variables = {{"PLACE", (folder / "data/own.yaml").string()}}};
  w.ends({"train", "env.yaml", "--json"}, 2, {"PLACE"}, &variable);
  CHECK(before == std::filesystem::exists(w.scratch.path / "runs"));
}
