// Too little memory is exit code 7 at any limit, never a signal; what is shown fits the terminal.
#include "cli/system.h"

#include <algorithm>
#include <set>
#include <sstream>

using namespace effllm::test;

namespace {

// `effllm ARGS` under `ulimit -v KIB`.
Ended limited(const World& w, int64_t kib, const std::string& args) {
  return run_command({"/bin/sh", "-c", "ulimit -v " + std::to_string(kib) + "; exec " + kBinary + " " + args}, w.in);
}

// Ended well, or with exit code 7 and one message that says what was being done, or planned, and what to do. 127 is the
// loader's own, where not even the libraries find room.
void check_end(const Ended& r, int64_t kib) {
  CAPTURE(kib);
  CAPTURE(r.err);
  CHECK((r.code == 0 || r.code == 7 || r.code == 127));
  if (r.code != 7) return;
  const size_t at = r.err.find("error: ");
  REQUIRE(at != r.err.npos);
  const std::string said = r.err.substr(at + 7);
  CHECK(said.find("error: ") == said.npos);
  const auto has = [&](const char* part) { return said.find(part) != said.npos; };
  const bool in_the_middle = said.starts_with("out of memory") && has(" while ") && has(", or raise the limit"),
             foreseen = has(" would need about ") && has("more than nine tenths of ");
  CHECK((in_the_middle || foreseen));
}

// Characters, not bytes.
size_t longest_line(const std::string& text) {
  std::istringstream lines(text);
  size_t longest = 0;
  for (std::string line; std::getline(lines, line);)
    longest =
        std::max(longest, static_cast<size_t>(std::ranges::count_if(line, [](char c) { return (c & 0xC0) != 0x80; })));
  return longest;
}

}  // namespace

TEST_CASE("cli: under any limit of address space a run ends with 0 or 7") {
  World w;
  const std::string train = "train tiny.yaml -q --threads 2 --set train.max_steps=4 --set eval.max_tokens=100";
  // From where the loader finds room for the libraries to where a run fits; 127 is the loader's own.
  int64_t low = 40000, high = 1200000;
  REQUIRE(limited(w, high, train).code == 0);
  std::set<int> seen;
  std::vector<int64_t> limits;
  while (high - low > 3000) {  // the least that is enough
    const int64_t middle = (low + high) / 2;
    limits.push_back(middle);
    const Ended r = limited(w, middle, train);
    check_end(r, middle);
    seen.insert(r.code);
    (r.code == 0 ? high : low) = middle;
  }
  for (int64_t kib = high - 3000; kib > std::max<int64_t>(high - 160000, 40000);
       kib -= 7000) {  // and what lies below it
    const Ended r = limited(w, kib, train);
    check_end(r, kib);
    seen.insert(r.code);
  }
  CHECK(seen.contains(7));
}

TEST_CASE("cli: under any limit of address space a model is read with 0 or 7") {
  World w;
  w.ok({"train", "tiny.yaml", "-q", "--set", "train.max_steps=2"});
  for (const char* command : {"eval runs/tiny -q --no-baselines --threads 2", "generate runs/tiny -n 20 --threads 2",
                              "check tiny.yaml", "describe runs/tiny"}) {
    CAPTURE(command);
    std::set<int> seen;
    for (int64_t kib = 50000; kib < 700000; kib += kib / 9) {
      const Ended r = limited(w, kib, command);
      check_end(r, kib);
      seen.insert(r.code);
    }
    CHECK(seen.contains(0));
    CHECK(seen.contains(7));
  }
}

TEST_CASE("cli: evaluation and samples that don't fit are refused with 7") {
  World w;
  w.ok(
      {"train", "tiny.yaml", "--set", "train.max_steps=2", "--set", "model.layers[2].mixer.window=0", "--name", "all"});
  w.ends({"generate", "runs/all", "-n", "1000000000", "--context", "0"}, 7, {"generate fewer"});
  w.ends({"check", "tiny.yaml", "--set", "train.batch=1048576", "--set", "train.context=16384", "--set",
          "data.order=random_windows"},
         7, {"train.batch"});
}

TEST_CASE("cli: tables and help fit 80 columns where that is asked for") {
  World w;
  Surroundings narrow = w.in;
  narrow.variables.push_back({"COLUMNS", "80"});
  const std::vector<Words> commands = {{"describe", "tiny.yaml"},
                                       {"describe", "tiny.yaml", "--parameters"},
                                       {"list"},
                                       {"list", "mixers"},
                                       {"list", "mixers", "--long"},
                                       {"list", "ffns", "--long"},
                                       {"list", "options"},
                                       {"list", "protocols"},
                                       {"--help"},
                                       {"train", "--help"},
                                       {"bench", "train", "--help"},
                                       {"eval", "--help"},
                                       {"data", "prepare", "--help"},
                                       {"verify", "--help"},
                                       {"doctor"}};
  for (const auto& c : commands) {
    const Ended r = w.effllm(c, &narrow);
    CAPTURE(c.front());
    CAPTURE(c.back());
    CHECK(r.code == 0);
    CAPTURE(r.out);
    CHECK(longest_line(r.out) <= 80);
  }
  // Without a terminal and COLUMNS a row is a line.
  const Ended wide = w.effllm({"list", "mixers"});
  CHECK(std::ranges::count(wide.out, '\n') < 40);
  CHECK(longest_line(wide.out) > 80);
}

TEST_CASE("cli: every key of a configuration is listed") {
  World w;
  const Ended r = w.ok({"list", "options", "--json"});
  for (const char* key : {"warmup", "shard_tokens", "sample_tokens", "corpus", "d_model", "tie_embeddings",
                          "weight_decay", "match", "eps", "scale_residual", "repeat", "version"})
    CHECK_MESSAGE(r.shows("\"name\":\"" + std::string(key) + "\""), key);
  // What a run resolves to is in the list, section by section.
  const Ended dry = w.ok({"train", "tiny.yaml", "--dry-run"});
  std::istringstream lines(dry.out);
  std::string section;
  int seen = 0;
  for (std::string line; std::getline(lines, line);) {
    const size_t indent = line.find_first_not_of(' ');
    const std::string key = line.substr(indent, line.find(':') - indent);
    if (indent == 0) section = key;
    if (indent != 2 || (section != "data" && section != "train" && section != "eval" && section != "optim")) continue;
    CHECK_MESSAGE(r.shows("\"name\":\"" + key + "\""), key);
    ++seen;
  }
  CHECK(seen > 20);
}
