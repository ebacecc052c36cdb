// What goes into a generated text and what comes out of it.
#include <algorithm>

#include "base/json.h"
#include "cli/system.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

int64_t times(const std::string& text, const std::string& what) {
  int64_t n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

struct TrainedWorld : World {
  TrainedWorld() {
    const Ended r = effllm({"train", "tiny.yaml", "-q", "--set", "train.max_steps=20"});
    REQUIRE_MESSAGE(r.code == 0, r.err);
  }
};

}  // namespace

TEST_CASE("cli generate: a sample of no text has its place in the output") {
  const TrainedWorld w;
  // Each symbol ends the text: every sample is empty.
  std::vector<std::string> words = {"generate", "runs/tiny", "-p", "line 1", "--samples", "6", "-n", "9"};
  for (const char c : std::string(" .:0123456789abcdefghijklmnopqrstuvwxyz\n"))
    words.insert(words.end(), {"--stop", std::string(1, c)});
  const Ended r = w.effllm(words);
  CHECK(r.out == "line 1\n---\nline 1\n---\nline 1\n---\nline 1\n---\nline 1\n---\nline 1\n");
  words.emplace_back("--json");
  CHECK(json::parse(w.effllm(words).out).at("samples") == std::vector<std::string>(6));
  // Some are empty: every block is there.
  for (const char* stop : {"e", " ", "1", "\\n"}) {
    const Ended some = w.effllm({"generate", "runs/tiny", "-p", "line", "--samples", "6", "-n", "4", "--stop", stop});
    CHECK(times(some.out, "line") >= 6);
    CHECK(times(some.out, "\n---\nline") == 5);
  }
}

TEST_CASE("cli generate: -p, --stop and --separator understand the same escapes") {
  const TrainedWorld w;
  const auto with = [&](const std::string& prompt, const std::vector<std::string>& stop) {
    std::vector<std::string> words = {"generate", "runs/tiny", "-p", prompt, "-n", "200", "--json"};
    for (const auto& s : stop) words.insert(words.end(), {"--stop", s});
    return json::parse(w.effllm(words).out);
  };
  const json written = with("one.\\nline", {}), meant = with("one.\nline", {});
  CHECK(written.at("prompt") == "one.\nline");
  CHECK(written == meant);
  CHECK(with("line", {"\\n"}) == with("line", {"\n"}));
  CHECK(with("line", {"\\n"}).at("samples").at(0).get<std::string>().find('\n') == std::string::npos);
  CHECK(with("line", {}).at("samples").at(0).get<std::string>().find('\n') != std::string::npos);
  const Ended backslash = w.effllm({"generate", "runs/tiny", "-p", "line\\\\n"});
  CHECK(backslash.code == 2);  // a backslash and an n, and the corpus has no backslash
  CHECK(backslash.err.find("--prompt: ") != std::string::npos);
  CHECK(backslash.err.find("U+005C") != std::string::npos);

  const std::string rows = "a\tb\r\nc\td\r\n";
  write_text(w.scratch.path / "rows.txt", rows + rows + rows);
  const auto separator_of = [&](const std::string& separator) {
    REQUIRE(w.effllm({"data", "prepare", "rows.txt", "--separator", separator, "--force"}).code == 0);
    return read_text(w.scratch.path / "data/rows.yaml");
  };
  CHECK(separator_of("\\t") == separator_of("\t"));
  CHECK(separator_of("\\r\\n") == separator_of("\r\n"));
  CHECK(separator_of("\\r") != separator_of("\\n"));
}

TEST_CASE("cli generate: a prompt from a file or standard input is taken byte for byte") {
  const TrainedWorld w;
  write_text(w.scratch.path / "prompt.txt", "line 1:\nline 2: ");
  const auto read = [&](std::vector<std::string> words) {
    words.insert(words.end(), {"-n", "30", "--json"});
    const Ended r = w.effllm(words);
    REQUIRE_MESSAGE(r.code == 0, r.err);
    return json::parse(r.out);
  };
  const json given = read({"generate", "runs/tiny", "-p", "line 1:\\nline 2: "});
  CHECK(read({"generate", "runs/tiny", "--prompt-file", "prompt.txt"}) == given);
  const std::string shell = std::string(kBinary) + " generate runs/tiny -n 30 --json --prompt-file - < prompt.txt";
  CHECK(json::parse(run_command({"/bin/sh", "-c", shell}, w.in).out) == given);
  write_text(w.scratch.path / "escape.txt", "line\\n");
  const Ended unknown = w.effllm({"generate", "runs/tiny", "--prompt-file", "escape.txt"});
  CHECK(unknown.code == 3);
  CHECK(unknown.err.find("escape.txt: `\\\\` (U+005C) at byte 4") != std::string::npos);
  const Ended missing = w.effllm({"generate", "runs/tiny", "--prompt-file", "nothing.txt"});
  CHECK(missing.code == 5);
  CHECK(missing.err.find("nothing.txt") != std::string::npos);
  CHECK(w.effllm({"generate", "runs/tiny", "--prompt-file", "prompt.txt", "-p", "line"}).code == 2);
}

TEST_CASE("cli data: a separator that never occurs is said") {
  const World w;
  const auto prepare = [&](const std::string& separator) {
    return w.effllm({"data", "prepare", "own.txt", "--name", "s", "--force", "--separator", separator, "-q", "--json"});
  };
  for (const char* separator : {"<|end|>", "\\t", "Line"}) {
    const Ended r = prepare(separator);
    CHECK(r.code == 0);
    CHECK(r.err.find("never occurs") != std::string::npos);
    CHECK(r.err.find(separator) != std::string::npos);
    CHECK(json::parse(r.out).at("separator_found") == false);
    CHECK(w.effllm({"data", "show", "s"}).err.find("never occurs") != std::string::npos);
    const Ended trained = w.effllm(
        {"train", "tiny.yaml", "--set", "data.corpus=s", "--set", "data.reset=document", "--set", "train.max_steps=1"});
    CHECK(trained.code == 0);
    CHECK(trained.err.find("one document") != std::string::npos);
  }
  for (const char* separator : {"", "\\n", ": the"}) {
    const Ended r = prepare(separator);
    CHECK(r.err.empty());
    CHECK(json::parse(r.out).at("separator_found") == (*separator != 0));
  }
}

TEST_CASE("cli generate: past the context of training attention sees a window, and that is said once") {
  const World w;
  const auto trained = [&](const std::string& mixer, const std::string& name) {
    w.configure(mixer);
    const Ended r = w.effllm({"train", "tiny.yaml", "--name", name, "--set", "train.max_steps=3", "--set",
                              "model.init={std: 1.0}", "--set", "eval.sample_tokens=40"});
    REQUIRE_MESSAGE(r.code == 0, r.err);
    return r.err;
  };
  const auto generated = [&](const std::string& run, const std::vector<std::string>& more, int tokens = 60) {
    std::vector<std::string> words = {"generate", "runs/" + run, "-p", "line 1", "-n", std::to_string(tokens)};
    words.insert(words.end(), more.begin(), more.end());
    return w.effllm(words);
  };
  CHECK(trained("{type: attention, heads: 2}", "rope").find("samples: attention sees the last 24 tokens") !=
        std::string::npos);
  const Ended usual = generated("rope", {});
  CHECK(usual.err == "context: attention sees the last 24 tokens, as in training; --context chooses otherwise\n");
  CHECK(generated("rope", {"--context", "24"}).out == usual.out);
  CHECK(generated("rope", {"-q"}).err.empty());
  const Ended all = generated("rope", {"--context", "0"});
  CHECK(all.err.empty());
  CHECK(all.out != usual.out);
  CHECK(all.out.substr(0, 6 + 18) == usual.out.substr(0, 6 + 18));  // as long as everything fits
  CHECK(generated("rope", {}, 19).err.empty());                     // the last token is not read
  CHECK(generated("rope", {}, 20).err.find("last 24") != std::string::npos);
  CHECK(generated("rope", {"--context", "5"}).out != usual.out);
  const json as_json = json::parse(generated("rope", {"--json"}).out);
  CHECK(as_json.at("context") == json{{"tokens", 24}, {"anew", false}});
  CHECK("line 1" + as_json.at("samples").at(0).get<std::string>() + "\n" == usual.out);
  CHECK(json::parse(generated("rope", {"--json", "--context", "0"}).out).at("context").at("tokens").is_null());
  CHECK(w.effllm({"eval", "runs/rope", "--no-baselines"}).err.empty());
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{"--tokens", "25"}, {"--protocol", "carried", "--max-tokens", "100"}}) {
    std::vector<std::string> words = {"eval", "runs/rope", "--no-baselines"};
    words.insert(words.end(), more.begin(), more.end());
    const Ended r = w.effllm(words);
    CHECK(r.code == 0);
    CHECK(r.err.find("learned on 24 tokens") != std::string::npos);
  }

  CHECK(trained("{type: attention, heads: 2, window: 9}", "window").find("samples:") == std::string::npos);
  CHECK(generated("window", {}).err.empty());
  CHECK(generated("window", {"--context", "0"}).out == generated("window", {}).out);
  CHECK(w.effllm({"eval", "runs/window", "--no-baselines", "--tokens", "25"}).err.empty());

  trained("{type: moba, heads: 2, block: 4}", "moba");
  CHECK(generated("moba", {}).err.find("after 24 tokens the model starts anew from the last 12") != std::string::npos);

  trained("{type: min_gru}", "recurrent");
  CHECK(generated("recurrent", {}).err.empty());
  const Ended refused = generated("recurrent", {"--context", "8"});
  CHECK(refused.code == 2);
  CHECK(refused.err.find("leave the context out") != std::string::npos);
  CHECK(generated("rope", {"--context", "-1"}).code == 2);
}
