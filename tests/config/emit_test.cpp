#include "config/expect.h"
#include "config/node.h"

namespace effllm {
namespace {

using testing::has;
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
      }
    }
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
