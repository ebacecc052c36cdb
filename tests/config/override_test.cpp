#include <random>

#include "config/expect.h"
#include "config/node.h"

namespace effllm {
namespace {

using testing::config_error;
using testing::kExperiment;
using testing::same_tree;

// The tree of `text` after one assignment, on one line.
std::string applied(std::string_view text, std::string_view assignment) {
  ConfigNode root = parse_config(text, "f");
  apply_override(root, assignment, 1);
  return to_flow_yaml(root);
}

std::string refusal(std::string_view text, std::string_view assignment) {
  ConfigNode root = parse_config(text, "f");
  const ConfigNode before = root;
  std::string message = config_error([&] { apply_override(root, assignment, 3); });
  CHECK(same_tree(root, before));  // all or nothing
  return message;
}

TEST_CASE("override: values replace, appear, and go back to the default") {
  CHECK(applied("{a: {b: 1}}", "a.b=2") == "{a: {b: 2}}");
  CHECK(applied("{a: {b: 1}}", "a.c=x y") == "{a: {b: 1, c: x y}}");
  CHECK(applied("{a: 1}", "m.n.o=true") == "{a: 1, m: {n: {o: true}}}");
  CHECK(applied("{a: }", "a.b=1") == "{a: {b: 1}}");
  CHECK(applied("", "a.b=1") == "{a: {b: 1}}");
  CHECK(applied("{l: [1, 2, 3]}", "l[2]=9") == "{l: [1, 2, 9]}");
  CHECK(applied("{l: [{c: 1}, {c: 2}]}", "l[1].c=9") == "{l: [{c: 1}, {c: 9}]}");
  CHECK(applied("{l: [{c: 1}]}", "l[0].d.e=9") == "{l: [{c: 1, d: {e: 9}}]}");
  CHECK(applied("{l: [[1, 2], [3]]}", "l[0][1]=9") == "{l: [[1, 9], [3]]}");
  CHECK(applied("{a: {b: 1, c: 2}}", "~a.b") == "{a: {c: 2}}");
  CHECK(applied("{train: {max_steps: 5, batch: 2}}", "train.max_flops=3") == "{train: {batch: 2, max_flops: 3}}");
  CHECK(applied("{train: {max_steps: 5}}", "train.max_steps=3") == "{train: {max_steps: 3}}");
  CHECK(applied("{train: {max_steps: 5}}", "train.batch=3") == "{train: {max_steps: 5, batch: 3}}");
  CHECK(applied("{model: {max_steps: 5}}", "model.max_tokens=3") == "{model: {max_steps: 5, max_tokens: 3}}");
  CHECK(applied("{l: [{c: 1, d: 2}]}", "~l[0].c") == "{l: [{d: 2}]}");
  CHECK(applied("{a: 1}", "~x.y.z") == "{a: 1}");
}

TEST_CASE("override: the value is YAML in flow style") {
  CHECK(applied("", "lr=3e-3") == "{lr: 3e-3}");
  CHECK(applied("", "layers=[1,2]") == "{layers: [1, 2]}");
  CHECK(applied("", "x={type: gla, n: [1, {a: b}]}") == "{x: {type: gla, n: [1, {a: b}]}}");
  CHECK(applied("{x: {old: 1}}", "x={type: gla}") == "{x: {type: gla}}");
  CHECK(applied("", "s=\"1\"") == "{s: \"1\"}");
  CHECK(applied("", "s=a=b") == "{s: a=b}");
  CHECK(applied("", "s=\"\"") == "{s: \"\"}");
  CHECK(applied("", "s='a, b: c'") == "{s: \"a, b: c\"}");
  CHECK(applied("", "s=-1.5") == "{s: -1.5}");
  CHECK(applied("", "s=null") == "{s: null}");
  CHECK(applied("", "s=/data/x.txt") == "{s: /data/x.txt}");
}

TEST_CASE("override: the place of a new value is the assignment") {
  ConfigNode root = parse_config("model:\n  d: 1\n", "f");
  apply_override(root, "model.d=[1, x]", 2);
  const ConfigNode::Entry& entry = root.find("model")->entries()[0];
  CHECK(entry.key_mark.text() == "--set #2");
  CHECK(entry.key_mark.column == 7);
  CHECK(entry.value.items()[1].mark().column == 13);
  CHECK(config_error([&] { throw_at(entry.value.items()[1].mark(), "no number"); }) ==
        "--set #2: error: no number\n"
        "      | model.d=[1, x]\n"
        "      |             ^");
}

TEST_CASE("override: a refusal shows the assignment with a caret") {
  CHECK(refusal("{l: [1, 2, 3]}", "l[3]=0") ==
        "--set #3: error: `l[3]` is out of range: the list has 3 items, counted from 0\n"
        "      | l[3]=0\n"
        "      |  ^");
}

TEST_CASE("override: what is wrong is refused, and nothing changes") {
  const std::pair<std::string_view, std::string_view> kCases[] = {
      {"", "`=` is missing"},
      {"=1", "a key is missing"},
      {"a..b=1", "a key is missing"},
      {".a=1", "a key is missing"},
      {"a.=1", "a key is missing"},
      {"~", "a key is missing"},
      {"~a.", "a key is missing"},
      {"[0]=1", "a key is missing"},
      {"a", "`=` is missing"},
      {"m.x", "`=` is missing"},
      {"a=", "the value is missing"},
      {"a= # c", "error"},
      {"l[=1", "an index is a number"},
      {"l[]=1", "an index is a number"},
      {"l[x]=1", "an index is a number"},
      {"l[-1]=1", "an index is a number"},
      {"l[1=1", "an index is a number"},
      {"l[99999999999999999999]=1", "an index is a number"},
      {"l[9]=1", "out of range"},
      {"l[0]x=1", "expected `.` or `=`"},
      {"l]=1", "expected `.` or `=`"},
      {"a b=1", "this is no key"},
      {"a =1", "this is no key"},
      {"<<=1", "this is no key"},
      {"s[0]=1", "of what is no list"},
      {"gone[0]=1", "of what is no list"},
      {"s.x=1", "of what is no map"},
      {"l.x=1", "of what is no map"},
      {"m[0]=1", "of what is no list"},
      {"a=1, 2", "more than one value"},
      {"a=b: c", "write a map in braces"},
      {"a=[1", "a bracket or brace is not closed"},
      {"a=1], [2", "error"},
      {"a=1]\n---\n[2", "error"},
      {"a={b: 1, b: 2}", "duplicate key"},
      {"a=!x 1", "tags such as"},
      {"a=\xFF", "0xff is not"},
      {"a\x01=1", "control character"},
      {"a=&a [*a]", "this alias stands inside"},
      {"~a=1", "takes no value"},
      {"~l[0]", "cannot take away an item"},
      {"~l[9].x", "out of range"},
  };
  for (const auto& [assignment, message] : kCases) {
    const std::string text = refusal("{s: x, l: [1, 2], m: {x: 1}}", assignment);
    CAPTURE(assignment);
    CAPTURE(text);
    CHECK(has(text, message));
    CHECK(text.starts_with("--set #3: error: "));
    CHECK(has(text, "^"));
  }
}

TEST_CASE("override: neither path nor value nests deeper than a file may") {
  std::string path = "a";
  for (int i = 0; i < 63; ++i) path += ".a";
  CHECK(refusal("", path + "=[1]") != "");
  CHECK(refusal("", path + ".a=1") != "");
  ConfigNode root;
  apply_override(root, path + "=1", 1);
  CHECK(same_tree(parse_config(to_yaml(root), "f"), root));
  for (int i = 0; i < 100'000; ++i) path += ".a";
  CHECK(refusal("", path + "=1") != "");
}

TEST_CASE("override: of thousands of random assignments each is applied or a ConfigError") {
  static constexpr std::string_view kPieces[] = {
      "model", ".",     "layers", "[",  "]",   "0",  "2", "=",  "~",  "{", "}",    ",",
      ": ",    "\"",    "'",      "#",  " ",   "\n", "-", "&a", "*a", "a", "type", "\xC3\xA4",
      "\x04",  "mixer", "[1]",    "=1", "---", "?",  "!", "|",  ">",  "%", "\t"};
  std::mt19937 random(2);
  const auto below = [&](size_t n) { return std::uniform_int_distribution<size_t>(0, n - 1)(random); };
  ConfigNode root = parse_config(kExperiment, "f");
  int applied_count = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string assignment = below(2) ? "" : "model.layers[1].mixer=";
    for (size_t n = below(9); n > 0; --n) assignment += kPieces[below(std::size(kPieces))];
    try {
      ConfigNode changed = root;
      apply_override(changed, assignment, round);
      REQUIRE(same_tree(parse_config(to_yaml(changed), "g"), changed));
      ++applied_count;
    } catch (const ConfigError& e) {
      REQUIRE(has(e.what(), "--set #"));
    }
  }
  CHECK(applied_count > 100);
}

}  // namespace
}  // namespace effllm
