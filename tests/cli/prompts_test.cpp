// What goes into a generated text and what comes out of it.
#include "cli/trained.h"

using namespace effllm::test;
using nlohmann::json;

namespace {

int64_t times(const std::string& text, const std::string& what) {
  int64_t n = 0;
  for (size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("cli generate: a sample of no text has its place in the output") {
  const TrainedWorld w({"train.max_steps=20"});
  // Each symbol ends the text: every sample is empty.
  Words words = {"generate", "runs/tiny", "-p", "line 1", "--samples", "6", "-n", "9"};
  for (const char c : std::string(" .:0123456789abcdefghijklmnopqrstuvwxyz\n"))
    words.insert(words.end(), {"--stop", std::string(1, c)});
  const Ended r = w.effllm(words);
  CHECK(r.out == "line 1\n---\nline 1\n---\nline 1\n---\nline 1\n---\nline 1\n---\nline 1\n");
  words.emplace_back("--json");
  CHECK(json::parse(w.effllm(words).out).at("samples") == Words(6));
  // Some are empty: every block is there.
  for (const char* stop : {"e", " ", "1", "\\n"}) {
    const Ended some = w.effllm({"generate", "runs/tiny", "-p", "line", "--samples", "6", "-n", "4", "--stop", stop});
    CHECK(times(some.out, "line") >= 6);
    CHECK(times(some.out, "\n---\nline") == 5);
  }
}

TEST_CASE("cli generate: -p, --stop and --separator understand the same escapes") {
  const TrainedWorld w({"train.max_steps=20"});
  const auto with = [&](const std::string& prompt, const Words& stop) {
    Words words = {"generate", "runs/tiny", "-p", prompt, "-n", "200", "--json"};
    for (const auto& s : stop) words.insert(words.end(), {"--stop", s});
    return json::parse(w.effllm(words).out);
  };
  const json written = with("one.\\nline", {}), meant = with("one.\nline", {});
  CHECK(written.at("prompt") == "one.\nline");
  CHECK(written == meant);
  CHECK(with("line", {"\\n"}) == with("line", {"\n"}));
  CHECK(with("line", {"\\n"}).at("samples").at(0).get<std::string>().find('\n') == std::string::npos);
  CHECK(with("line", {}).at("samples").at(0).get<std::string>().find('\n') != std::string::npos);
  const Ended backslash =
      w.ends({"generate", "runs/tiny", "-p", "line\\\\n"}, 2);  // a backslash and an n, and the corpus has no backslash
  CHECK(backslash.says("--prompt: "));
  CHECK(backslash.says("U+005C"));

  const std::string rows = "a\tb\r\nc\td\r\n";
  spill(w.scratch.path / "rows.txt", rows + rows + rows);
  const auto separator_of = [&](const std::string& separator) {
    w.ok({"data", "prepare", "rows.txt", "--separator", separator, "--force"});
    return slurp(w.scratch.path / "data/rows.yaml");
  };
  CHECK(separator_of("\\t") == separator_of("\t"));
  CHECK(separator_of("\\r\\n") == separator_of("\r\n"));
  CHECK(separator_of("\\r") != separator_of("\\n"));
}

TEST_CASE("cli generate: a prompt from a file or standard input is taken byte for byte") {
  const TrainedWorld w({"train.max_steps=20"});
  spill(w.scratch.path / "prompt.txt", "line 1:\nline 2: ");
  const auto read = [&](const Words& words) { return w.read(with(words, {"-n", "30"})); };
  const json given = read({"generate", "runs/tiny", "-p", "line 1:\\nline 2: "});
  CHECK(read({"generate", "runs/tiny", "--prompt-file", "prompt.txt"}) == given);
  const std::string shell = std::string(kBinary) + " generate runs/tiny -n 30 --json --prompt-file - < prompt.txt";
  CHECK(json::parse(run_command({"/bin/sh", "-c", shell}, w.in).out) == given);
  spill(w.scratch.path / "escape.txt", "line\\n");
  w.ends({"generate", "runs/tiny", "--prompt-file", "escape.txt"}, 3, {"escape.txt: `\\\\` (U+005C) at byte 4"});
  w.ends({"generate", "runs/tiny", "--prompt-file", "nothing.txt"}, 5, {"nothing.txt"});
  w.ends({"generate", "runs/tiny", "--prompt-file", "prompt.txt", "-p", "line"}, 2);
}

TEST_CASE("cli data: a separator that never occurs is said") {
  const World w;
  const auto prepare = [&](const std::string& separator) {
    return w.effllm({"data", "prepare", "own.txt", "--name", "s", "--force", "--separator", separator, "-q", "--json"});
  };
  for (const char* separator : {"<|end|>", "\\t", "Line"}) {
    const Ended r = prepare(separator);
    CHECK(r.code == 0);
    CHECK(r.says("never occurs"));
    CHECK(r.says(separator));
    CHECK(json::parse(r.out).at("separator_found") == false);
    CHECK(w.effllm({"data", "show", "s"}).says("never occurs"));
    w.ends(
        {"train", "tiny.yaml", "--set", "data.corpus=s", "--set", "data.reset=document", "--set", "train.max_steps=1"},
        0, {"one document"});
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
    const Ended r = w.ok({"train", "tiny.yaml", "--name", name, "--set", "train.max_steps=3", "--set",
                          "model.init={std: 1.0}", "--set", "eval.sample_tokens=40"});
    return r.err;
  };
  const auto generated = [&](const std::string& run, const Words& more, int tokens = 60) {
    return w.effllm(with({"generate", "runs/" + run, "-p", "line 1", "-n", std::to_string(tokens)}, more));
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
  CHECK(generated("rope", {}, 20).says("last 24"));
  CHECK(generated("rope", {"--context", "5"}).out != usual.out);
  const json as_json = json::parse(generated("rope", {"--json"}).out);
  CHECK(as_json.at("context") == json{{"tokens", 24}, {"anew", false}});
  CHECK("line 1" + as_json.at("samples").at(0).get<std::string>() + "\n" == usual.out);
  CHECK(json::parse(generated("rope", {"--json", "--context", "0"}).out).at("context").at("tokens").is_null());
  CHECK(w.effllm({"eval", "runs/rope", "--no-baselines"}).err.empty());
  for (const Words& more : {Words{"--tokens", "25"}, {"--protocol", "carried", "--max-tokens", "100"}}) {
    w.ends(with({"eval", "runs/rope", "--no-baselines"}, more), 0, {"learned on 24 tokens"});
  }

  CHECK(trained("{type: attention, heads: 2, window: 9}", "window").find("samples:") == std::string::npos);
  CHECK(generated("window", {}).err.empty());
  CHECK(generated("window", {"--context", "0"}).out == generated("window", {}).out);
  CHECK(w.effllm({"eval", "runs/window", "--no-baselines", "--tokens", "25"}).err.empty());

  trained("{type: moba, heads: 2, block: 4}", "moba");
  CHECK(generated("moba", {}).says("after 24 tokens the model starts anew from the last 12"));

  trained("{type: min_gru}", "recurrent");
  CHECK(generated("recurrent", {}).err.empty());
  const Ended refused = generated("recurrent", {"--context", "8"});
  CHECK(refused.code == 2);
  CHECK(refused.says("leave the context out"));
  CHECK(generated("rope", {"--context", "-1"}).code == 2);
}
