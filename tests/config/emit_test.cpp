#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <regex>

#include "config/expect.h"
#include "config/yaml.h"

namespace effllm {
namespace {

using testing::kExperiment;
using testing::same_tree;

TEST_CASE("to_yaml: written text is read back as the same tree, and written the same again") {
  const ConfigNode root = parse_config(kExperiment, "f");
  const std::string text = to_yaml(root);
  CAPTURE(text);
  CHECK(same_tree(parse_config(text, "again"), root));
  CHECK(to_yaml(parse_config(text, "again")) == text);
  CHECK(same_tree(parse_config(to_flow_yaml(root), "flow"), root));
  CHECK(has(text, "  layers:\n    - mixer:\n        type: gla\n"));
  CHECK(has(text, "  split: [0.9, 0.05, 0.05]\n"));
  CHECK(has(text, "    lr: 3e-3\n"));
  CHECK(has(text, "  vocabulary: bytes\n"));
  CHECK(has(text, "  folder: ${env:EFFLLM_DATA_DIR,data}\n"));
}

TEST_CASE("to_yaml: every text survives, with its type, as value, key, item and root") {
  const std::string kTexts[] = {"plain",
                                "two words",
                                "",
                                " ",
                                " lead",
                                "trail ",
                                "null",
                                "Null",
                                "~",
                                "true",
                                "false",
                                "yes",
                                "No",
                                "on",
                                "1",
                                "-1",
                                "-1.5e-3",
                                "010",
                                "1e3",
                                "0x10",
                                "1_000",
                                ".5",
                                "+3",
                                "-",
                                "--",
                                "---",
                                "--- x",
                                "...",
                                "- x",
                                "-x",
                                "?",
                                "? x",
                                "?x",
                                ":",
                                ":x",
                                "a:",
                                "a: b",
                                "a:b",
                                "http://x/y?z=1",
                                "a #b",
                                "#a",
                                "a#b",
                                "a, b",
                                "a,b",
                                "[a",
                                "a]",
                                "{a}",
                                "${env:X,y}",
                                "&a",
                                "*a",
                                "!a",
                                "|",
                                ">",
                                "%x",
                                "@x",
                                "`x",
                                "'",
                                "\"",
                                "it's",
                                "\\",
                                "a\\nb",
                                "a\nb",
                                "\n",
                                "a\n",
                                "\ta",
                                "a\tb",
                                "\x01\x04\x1B\x7F",
                                "\xC3\xA4\xC3\xB6",
                                "\xC2\x85x\xC2\x9F",
                                "\xEF\xBB\xBFx",
                                "\xE2\x80\xA8",
                                "\xF0\x9F\x98\x80",
                                "<<",
                                "=",
                                "2020-01-01",
                                "12:30",
                                "inf",
                                "nan",
                                ".nan",
                                std::string(3000, 'w'),
                                std::string(3000, ' '),
                                "a" + std::string(2000, ',')};
  for (const std::string& text : kTexts)
    for (const bool quoted : {true, false}) {
      CAPTURE(text);
      const ConfigNode one = ConfigNode::scalar(text, {}, quoted);
      ConfigNode map = ConfigNode::map();
      map.set("k", one);
      if (!text.empty() && text != "<<" && text.size() <= 128) map.set(text, one);
      map.set("list", ConfigNode::list({one, one}));
      map.set("maps", ConfigNode::list({map, one}));
      map.set("lists", ConfigNode::list({ConfigNode::list({map}), ConfigNode::list({one}), ConfigNode::list()}));
      for (const ConfigNode& node : {one, map, ConfigNode::list({one}), ConfigNode::list({map, map})}) {
        CHECK(same_tree(parse_config(to_yaml(node), "f"), node));
        CHECK(same_tree(parse_config(to_flow_yaml(node), "f"), node));
        CHECK(to_yaml(parse_config(to_yaml(node), "f")) == to_yaml(node));
        const std::string ascii = to_ascii_yaml(node);
        CHECK(same_tree(parse_config(ascii, "f"), node));
        CHECK(std::ranges::all_of(ascii, [](char c) { return c > 0 && c < 127; }));
        if (std::ranges::all_of(to_yaml(node), [](char c) { return c > 0; })) CHECK(ascii == to_yaml(node));
      }
    }
}

TEST_CASE("to_ascii_yaml: escapes say the characters they stand for") {
  for (const auto& [text, escaped] : {std::pair("\xC3\xA9", "\"\\xe9\"\n"),
                                      {"a\xC5\x8F", "\"a\\u014f\"\n"},
                                      {"\xE2\x82\xAC!", "\"\\u20ac!\"\n"},
                                      {"\xF0\x9F\x98\x80", "\"\\U0001f600\"\n"},
                                      {"\xC2\x85", "\"\\x85\"\n"},
                                      {"plain", "plain\n"}})
    CHECK(to_ascii_yaml(ConfigNode::scalar(text)) == escaped);
}

TEST_CASE("yaml_float: a float for readers of YAML 1.1 and 1.2, and the same number again") {
  // The float of YAML 1.1 as PyYAML resolves it, without infinities and base 60.
  const std::regex float_1_1(R"([-+]?[0-9][0-9_]*\.[0-9_]*([eE][-+][0-9]+)?)");
  for (const auto& [value, text] : {std::pair(1e-5, "1.0e-05"),
                                    {1e20, "1.0e+20"},
                                    {1.5e-7, "1.5e-07"},
                                    {0.0, "0.0"},
                                    {-0.0, "-0.0"},
                                    {10000.0, "10000.0"},
                                    {-3.0, "-3.0"},
                                    {0.1, "0.1"},
                                    {1e16, "1.0e+16"},
                                    {5e-324, "5.0e-324"},
                                    {1.7976931348623157e308, "1.7976931348623157e+308"}}) {
    CHECK(yaml_float(value) == text);
    CHECK(std::regex_match(yaml_float(value), float_1_1));
    double again = 1;
    std::from_chars(text, text + std::strlen(text), again);
    CHECK(again == value);
  }
  for (int exponent = -320; exponent < 308; ++exponent) {
    const double value = 7 * std::pow(10.0, exponent);
    CHECK(std::regex_match(yaml_float(value), float_1_1));
    CHECK(std::strtod(yaml_float(value).c_str(), nullptr) == value);
  }
  CHECK_THROWS_AS(yaml_float(HUGE_VAL), ShapeError);
}

TEST_CASE("to_yaml: empty maps and lists, null and nested lists survive") {
  for (std::string_view text : {"{}", "[]", "null", "[[], {}, ~]", "a: {}\nb: []\nc: ~", "[[1, [2, 3]], [[{a: 1}]]]",
                                "- - - a: 1\n      b: [x]\n    - c\n- d: {e: {f: [{g: h}]}}"}) {
    CAPTURE(text);
    const ConfigNode node = parse_config(text, "f");
    CHECK(same_tree(parse_config(to_yaml(node), "g"), node));
    CHECK(same_tree(parse_config(to_flow_yaml(node), "g"), node));
  }
  CHECK(to_yaml(parse_config("a: {}\nb: []\nc: ~", "f")) == "a: {}\nb: []\nc: null\n");
}

}  // namespace
}  // namespace effllm
