#include <chrono>
#include <random>

#include "config/expect.h"
#include "config/node.h"

namespace effllm {
namespace {

using testing::config_error;
using testing::kExperiment;
using testing::same_tree;

// The message that parse_config has for a text called "f".
std::string refusal(std::string_view text) {
  return config_error([&] { parse_config(text, "f"); });
}

std::string repeated(std::string_view piece, int n) {
  std::string out;
  for (int i = 0; i < n; ++i) out += piece;
  return out;
}

TEST_CASE("yaml: kinds, quotes and places of an ordinary file") {
  const ConfigNode root = parse_config(kExperiment, "f");
  const ConfigNode& model = *root.find("model");
  CHECK(model.find("d_model")->text() == "256");
  CHECK(model.find("d_model")->mark().text() == "f:5:12");
  CHECK(model.entries()[0].key_mark.text() == "f:5:3");
  CHECK(model.find("vocabulary")->quoted());
  CHECK(!model.find("d_model")->quoted());
  REQUIRE(model.find("layers")->items().size() == 3);
  CHECK(model.find("layers")->items()[2].find("ffn")->type() == "swiglu");  // by its alias
  CHECK(root.find("data")->find("note")->text() == "it's \"quoted\": yes # here");
  CHECK(root.find("train")->find("text")->text() == "first line\n  second line\n");
  CHECK(root.find("train")->find("optimizer")->find("lr")->text() == "3e-3");
}

TEST_CASE("yaml: byte-order mark, carriage returns, document markers and emptiness are harmless") {
  const ConfigNode root = parse_config("\xEF\xBB\xBF---\r\na: x\r\nb:\r\n  - 1\r\n  - ~\r\n...\r\n", "f");
  CHECK(root.find("a")->text() == "x");
  CHECK(root.find("b")->mark().text() == "f:4:3");
  CHECK(root.find("b")->items()[1].is_null());
  CHECK(root.find("b")->items()[1].mark().text() == "f:5:5");
  CHECK(parse_config("", "f").is_null());
  CHECK(parse_config("# nothing\n", "f").is_null());
  CHECK(parse_config("a:\n", "f").find("a")->is_null());
}

TEST_CASE("yaml: what is refused is refused with its line and column") {
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"a: 1\n---\nb: 2\n", "f:2:1: error: the text goes on after its one document"},
      {"a: 1\nm:\n  k: 1\n  b: 2\n  k: 3\n", "f:5:3: error: duplicate key `k`; it was first given in line 3"},
      {"m: {k: 1, k: 2}\n", "f:1:11: error: duplicate key `k`"},
      {"a: &a {x: 1}\nb:\n  <<: *a\n", "f:3:3: error: merge keys"},
      {"a: !thing 3\n", "f:1:4: error: tags such as"},
      {"a: !!int 3\n", "f:1:4: error: tags such as"},
      {"a: !!map {}\n", "f:1:4: error: tags such as"},
      {"a: 1\nb: x\xFFy\n", "f:2:5: error: the byte 0xff is not printable UTF-8"},
      {"a: \xC3", "f:1:4: error: the byte 0xc3 is not"},
      {"a: \xED\xA0\x80", "f:1:4: error: the byte 0xed is not"},
      {std::string_view("a: 1\0", 5), "f:1:5: error: the control character 0x00"},
      {"a: 1\x04\nb: 2", "f:1:5: error: the control character 0x04"},
      {"a: 1\rb: 2", "f:1:5: error: the control character 0x0d"},
      {"a: \"x\\0\"", "f:1:4: error: a text must not hold the character NUL"},
      {"a: &a [*a]\n", "f:1:8: error: this alias stands inside"},
      {"a: &a {b: {c: *a}}\n", "f:1:15: error: this alias stands inside"},
      {"? [a]\n: 1\n", "f:1:3: error: a key must be a text"},
      {"~: 1\n", "f:1:1: error: a key must be a text"},
      {"\"\": 1\n", "f:1:1: error: a key must be a text"},
      {"a: *b\n", "f:1:4: error: this is not valid YAML"},
      {"a: [1, 2\n", "a bracket or brace is not closed"},
      {"a: {b: ROMEO:}\n", "needs quotes"},
      {"a: 'x\n", "f:2:1: error: this is not valid YAML: a quoted text has no end"},
      {"a: 'x", "a quoted text has no end"},
      {"a: \"x\nb: 2\n", "a quoted text has no end"},
      {"a: b: c\n", "f:1:5: error: a text with a colon needs quotes: a: \"b: c\""},
      {"e:\n  prompt: ROMEO:\n", "f:2:16: error: a text with a colon needs quotes: prompt: \"ROMEO:\"\n"},
      {"prompt: ROMEO: # who\n", "needs quotes: prompt: \"ROMEO:\"\n"},
      {"prompt: say \"x\":\n", "f:1:16: error: a text with a colon needs quotes around all of it"},
      {"e:\n  - prompt: http://x.y z: w\n", "needs quotes: - prompt: \"http://x.y z: w\""},
      {"a:\n\tb: 1\n", "f:2:1: error: this line is indented with a tab; YAML takes spaces only"},
      {"a:\n  b: 1\n\tc: 2\n", "f:3:1: error: this line is indented with a tab"},
      {"a:\n  b: 1\n  \tc: 2\n", "f:3:3: error: this line is indented with a tab"},
      {"a:\n\t- 1\n", "f:2:1: error: this line is indented with a tab"},
      {"\ta:\n", "f:1:1: error: this line is indented with a tab"},
      {"a: 1\n\t\nb: 2\n", "f:2:1: error: this line is indented with a tab"},
      {"a:\n  b: x\n   c: 4\n", "f:3:5: error: a key cannot stand here"},
      {"a:\n  b: 8\n c: 4\n", "f:3:2: error: this line is indented like none of the keys above it"},
  };
  for (const auto& [text, message] : kCases) {
    CAPTURE(text);
    CAPTURE(refusal(text));
    CHECK(has(refusal(text), message));
  }
}

TEST_CASE("yaml: tabs that do not indent are blanks") {
  CHECK(parse_config("a:\tx\nb: {c: 3,\n\td: 4}\n", "f").find("b")->find("d")->text() == "4");
}

TEST_CASE("yaml: a refusal shows the line") {
  CHECK(refusal("a: 1\nb: 2\na: 3\n") ==
        "f:3:1: error: duplicate key `a`; it was first given in line 1\n"
        "    3 | a: 3\n"
        "      | ^");
}

TEST_CASE("yaml: limits of length, depth, nodes and key") {
  CHECK(has(refusal(std::string((1 << 20) + 1, '#')), "f:1:1: error: the text is longer than 1048576 bytes"));
  CHECK(refusal("a: 1\n" + std::string(1'000'000, '#')) == "");
  CHECK(refusal(repeated("[", 64) + repeated("]", 64)) == "");
  CHECK(has(refusal(repeated("[", 65) + repeated("]", 65)), "f:1:65: error: maps and lists are nested more than 64"));
  CHECK(refusal("[" + repeated("~,", 99'990) + "]") == "");
  CHECK(has(refusal("[" + repeated("~,", 100'000) + "]"), "more than 100000 nodes"));
  CHECK(has(refusal("[" + repeated("1,", 100'000) + "]"), "more than 100000 nodes"));
  CHECK(has(refusal("[" + repeated("[],", 100'000) + "]"), "more than 100000 nodes"));
  CHECK(refusal(repeated("k", 128) + ": 1") == "");
  CHECK(has(refusal("? " + std::string(129, 'k') + "\n: 1"), "f:1:3: error: this key has 129 bytes"));
}

TEST_CASE("yaml: texts that unfold without end are refused at once") {
  const auto start = std::chrono::steady_clock::now();
  std::string laughs = "l0: &l0 [ha, ha, ha, ha, ha, ha, ha, ha, ha]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string below = "*l" + std::to_string(i - 1), name = "l" + std::to_string(i);
    laughs += name + ": &" + name + " [" + repeated(below + ", ", 8) + below + "]\n";
  }
  CHECK(has(refusal(laughs), "more than 100000 nodes"));
  const std::string long_text = "a: &a " + std::string(500'000, 'x') + "\nb: [" + repeated("*a,", 90'000) + "]";
  CHECK(has(refusal(long_text), "bytes once its aliases are expanded"));
  std::string deep = "a0: &a0 [" + repeated("[", 30) + repeated("]", 30) + "]\n";
  for (int i = 1; i < 4; ++i)
    deep += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " " + repeated("[", 20) + "*a" +
            std::to_string(i - 1) + repeated("]", 20) + "\n";
  CHECK(has(refusal(deep), "nested more than 64 levels"));
  CHECK(has(refusal(repeated("[", 100'000)), "nested more than 64 levels"));
  CHECK(refusal(repeated("{a: ", 100'000)) != "");
  CHECK(refusal(repeated("- ", 100'000)) != "");
  CHECK(refusal(repeated("? ", 100'000)) != "");
  CHECK(refusal(repeated("&a ", 100'000)) != "");
  std::string anchors;
  for (int i = 0; i < 60; ++i) anchors += "&a" + std::to_string(i) + " [";
  CHECK(refusal(anchors + repeated("1,", 50'000) + repeated("]", 60)) != "");
  std::string keys;
  for (int i = 0; i < 49'000; ++i) keys += "k" + std::to_string(i) + ":\n";
  CHECK(refusal(keys) == "");
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  CHECK(passed.count() < 20);
}

TEST_CASE("yaml: of thousands of mutations each is a tree that survives, or a ConfigError") {
  std::mt19937 random(1);
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  static constexpr std::string_view kPieces[] = {
      "&a ",         "*a", "*gated", "<<: ", "---\n",       "...\n",      "!x ",  "? ",           ": ",   "- ",
      "[",           "]",  "{",      "}",    ",",           "\"",         "'",    "|\n",          ">-\n", "#",
      "\t",          "\n", "\r",     "\\",   "%YAML 9.9\n", "%TAG ! x\n", "\xFF", "\xEF\xBB\xBF", "~",    "\"\\x",
      "\"\\ud800\"", "@",  "`",      "!<",   "!!",          "    ",       "|9",   ">0",           "&",    "*"};
  int trees = 0, refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text(kExperiment);
    for (size_t edits = 1 + below(4); edits > 0; --edits) {
      const size_t at = below(text.size());
      switch (below(5)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, 1 + below(12));
          break;
        case 2:
          text.insert(at, kPieces[below(std::size(kPieces))]);
          break;
        case 3:
          text.insert(at, std::string(text.substr(below(text.size()), below(60))));
          break;
        default:
          text.resize(at + 1);
          break;
      }
    }
    try {
      const ConfigNode node = parse_config(text, "f");
      ++trees;
      REQUIRE(same_tree(parse_config(to_yaml(node), "g"), node));
    } catch (const ConfigError& e) {
      ++refused;
      REQUIRE(has(e.what(), "f:"));
    }
  }
  CHECK(trees > 200);
  CHECK(refused > 200);
}

}  // namespace
}  // namespace effllm
