#include "eval/baselines.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <mutex>
#include <new>
#include <numbers>
#include <set>

#include "base/error.h"
#include "eval/baseline_table.h"
#include "eval/ngram.h"
#include "store/temp_folder.h"
#include "support/named.h"

using namespace effllm;

namespace {

// train is 80 bytes, val 10, test 10.
struct World {
  TempFolder folder{"baselines"};
  std::string text;
  Corpus corpus;
  std::unique_ptr<Tokenizer> tokenizer;
  EvalOptions options;
  TokenizedText tokens;
  std::string_view part;
  EvalResult result;
  std::optional<Split> split;

  explicit World(Split s) : split(s) {
    for (int i = 0; i < 100; ++i) text += static_cast<char>('a' + i * i % 7);
    text[5] = 'z';  // in train alone
    spill(folder / "t.txt", text);
    prepare_corpus(folder / "t.txt", "t", folder.path / "data", 0.8, 0.1, "");
    corpus = Corpus::open((folder.path / "data/t.yaml").string());
    tokenizer = build_tokenizer("char", text);
    tokens = corpus.tokenize(*tokenizer, s);
    part = corpus.text(s);
    score(static_cast<int64_t>(part.size()) - 1);
  }
  void score(int64_t n) { result.tokens = result.bytes = result.characters = n; }
  Baselines run(std::vector<Compressor> compressors, int64_t most_before = 1 << 20, bool with_corpus = true,
                int64_t least_scored = 0, double memory = 1e18) const {
    return baselines({.tokens = tokens,
                      .text = part,
                      .tokenizer = *tokenizer,
                      .corpus = with_corpus ? &corpus : nullptr,
                      .split = split,
                      .options = options,
                      .result = result},
                     {.most_before = most_before,
                      .least_scored = least_scored,
                      .memory = memory,
                      .compressors = std::move(compressors)});
  }
};

// Takes what it is given into `seen`; "compresses" to three times the size and 50 bytes of header.
struct Recorder {
  std::multiset<std::string> seen;
  std::mutex one;
  Compressor compressor() {
    return {"recorder", [this](std::string_view text) {
              const std::lock_guard lock(one);
              seen.emplace(text);
              return static_cast<int64_t>(50 + 3 * text.size());
            }};
  }
};

const Baseline& row(const Baselines& all, std::string_view name, std::string_view before) {
  const auto it =
      std::ranges::find_if(all.rows, [&](const Baseline& b) { return b.name == name && b.before == before; });
  REQUIRE_MESSAGE(it != all.rows.end(), name << " after " << before);
  return *it;
}

}  // namespace

TEST_CASE("baselines: a compressor reads nothing, train, and train and val before test, and is scored on test alone") {
  const World w(Split::test);
  Recorder r;
  const Baselines all = w.run({r.compressor()});
  const std::string train = w.text.substr(0, 80), val = w.text.substr(80, 10), test = w.text.substr(90);
  CHECK(r.seen == std::multiset<std::string>{test, train, train + test, train + val, train + val + test});
  CHECK(row(all, "recorder", "nothing").bits_per_byte == 8.0 * (50 + 30) / 10);  // its header counts
  CHECK(row(all, "recorder", "train").bits_per_byte == 24.0);
  CHECK(row(all, "recorder", "train + val").bits_per_byte == 24.0);
  CHECK(row(all, "recorder", "train").before_bytes == 80);
  CHECK(row(all, "recorder", "train + val").before_bytes == 90);
  CHECK(row(all, "recorder", "train").adapts);
  CHECK_FALSE(row(all, "Kneser-Ney 5-gram", "train").adapts);
  CHECK(all.left_out.empty());
}

TEST_CASE("baselines: before val comes train, before train nothing") {
  for (const auto& [split, texts] : {std::pair{Split::val, 3}, {Split::train, 1}}) {
    const World w(split);
    Recorder r;
    const Baselines all = w.run({r.compressor()});
    CHECK(r.seen.size() == static_cast<size_t>(texts));
    CHECK(all.rows.size() == static_cast<size_t>(2 + texts / 2 + 1));
  }
}

TEST_CASE("baselines: of a long text before only the end is read") {
  const World w(Split::test);
  Recorder r;
  const Baselines all = w.run({r.compressor()}, 16);
  const std::string before = w.text.substr(74, 16), train = w.text.substr(64, 16), test = w.text.substr(90);
  CHECK(r.seen == std::multiset<std::string>{test, train, train + test, before, before + test});
  CHECK(row(all, "recorder", "train").before_bytes == 16);
  CHECK(row(all, "recorder", "train").cut);
  CHECK_FALSE(row(all, "recorder", "nothing").cut);
}

TEST_CASE("baselines: n-grams of the training split, on the targets of the model") {
  World w(Split::test);
  w.options.max_tokens = 4;
  w.score(4);
  Recorder r;
  const Baselines all = w.run({r.compressor()});
  CHECK(r.seen.contains(w.text.substr(90, 5)));
  const TokenizedText train = w.corpus.tokenize(*w.tokenizer, Split::train);
  const NgramModel model(train.tokens, w.tokenizer->vocab_size(), 2);
  double nats = 0;
  for (size_t i = 1; i <= 4; ++i) nats -= model.log_prob(std::span(w.tokens.tokens).first(i), w.tokens.tokens[i]);
  CHECK(row(all, "Kneser-Ney 2-gram", "train").bits_per_byte == doctest::Approx(nats / std::numbers::ln2 / 4));
}

TEST_CASE("baselines: n-gram models that find no room are left out before they take it") {
  const World w(Split::test);
  Recorder r;
  const Baselines all = w.run({r.compressor()}, 1 << 20, true, 0, 1 << 20);  // less than the process has already
  REQUIRE(all.left_out.size() == 2);
  CHECK(all.left_out[1].name == "Kneser-Ney 5-gram");
  CHECK_MESSAGE(all.left_out[1].reason.starts_with("it would need about "), all.left_out[1].reason);
  CHECK(all.left_out[1].reason.ends_with(" of 1.00 MiB are in use"));
  CHECK(row(all, "recorder", "train").bits_per_byte > 0);
}

TEST_CASE("baselines: what fails is left out with its reason, and costs nothing else") {
  World w(Split::test);
  Recorder r;
  const Compressor broken = {"broken", [](std::string_view) -> int64_t { throw IoError("exit code 3"); }};
  const Compressor hungry = {"hungry", [](std::string_view text) -> int64_t {
                               if (text.size() > 50) throw std::bad_alloc();
                               return 10;
                             }};
  const Baselines all = w.run({broken, hungry, r.compressor()});
  REQUIRE(all.left_out.size() == 2);
  CHECK(all.left_out[0].name == "broken");
  CHECK(all.left_out[0].reason == "exit code 3");
  CHECK(all.left_out[1].name == "hungry");
  CHECK(all.left_out[1].reason == "not enough memory");
  CHECK(row(all, "hungry", "nothing").bits_per_byte == 8.0);
  CHECK(row(all, "recorder", "train + val").bits_per_byte == 24.0);
  w.score(3);  // the n-gram models score all nine targets: not what the model was scored on
  const Baselines unequal = w.run({r.compressor()});
  REQUIRE(unequal.left_out.size() == 2);
  CHECK(unequal.left_out[0].reason == "it scored 9 tokens, the model 3");
}

TEST_CASE("baselines: of a short text compressors are left out, and so is one whose text does not grow") {
  const World w(Split::test);  // of 10 bytes
  Recorder r;
  CHECK(w.run({r.compressor()}, 1 << 20, true, 10).rows.size() == 2 + 3);
  const Baselines few = w.run({r.compressor()}, 1 << 20, true, 11);
  CHECK(few.rows.size() == 2);  // n-gram models have no header
  REQUIRE(few.left_out.size() == 1);
  CHECK(few.left_out[0].name == "compressors");
  CHECK(few.left_out[0].reason ==
        "the text has 10 bytes; below 11 their headers and padding, not the text, would decide the figure");
  CHECK(BaselineOptions().least_scored == 1000);
  const Compressor shrinks = {"shrinks",
                              [](std::string_view text) { return int64_t{200} - static_cast<int64_t>(text.size()); }};
  const Baselines none = w.run({shrinks});
  REQUIRE(none.left_out.size() == 2);
  CHECK(none.left_out[0].reason ==
        "the compressed text before takes 120 bytes, with this text 110: what it adds can't be told");
  CHECK(row(none, "shrinks", "nothing").bits_per_byte == 8.0 * 190 / 10);
  for (const Baseline& b : none.rows) CHECK(b.bits_per_byte > 0);
}

TEST_CASE("baselines: a training split with other symbols, or no corpus at all, leaves the rest") {
  World w(Split::test);
  Recorder r;
  const Baselines alone = w.run({r.compressor()}, 100, false);
  CHECK(alone.rows.size() == 1);
  CHECK(alone.rows[0].before == "nothing");
  w.tokenizer = build_tokenizer("char", w.part);
  w.tokens = w.corpus.tokenize(*w.tokenizer, Split::test);
  const Baselines other = w.run({r.compressor()});
  CHECK(other.rows.size() == 3);
  REQUIRE(other.left_out.size() == 2);
  CHECK(other.left_out[0].reason.starts_with("corpus `t`, split train: "));
}

TEST_CASE(
    "baselines: the table has a column for each text before, says how compressors are scored and what is missing") {
  Baselines all;
  all.rows = {
      {.name = "n", .before = "train", .bits_per_byte = 2.5},
      {.name = "z", .before = "nothing", .adapts = true, .bits_per_byte = 4},
      {.name = "z", .before = "train", .before_bytes = 64 << 20, .cut = true, .adapts = true, .bits_per_byte = 3}};
  all.left_out = {{"q", "it is not installed"}};
  const std::string text = baseline_table(1.25, all);
  CHECK(text.find("nothing  train\n") != text.npos);
  CHECK(text.find("1.250") < text.find("2.500"));
  CHECK(text.find("z *") != text.npos);
  CHECK(text.find("adapts while it is scored") != text.npos);
  CHECK(text.find("last 64 MiB") != text.npos);
  CHECK(text.ends_with("left out: q: it is not installed\n"));
  all.rows.resize(1);
  CHECK(baseline_table(1.25, all).find('*') == std::string::npos);
}
