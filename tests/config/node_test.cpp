#include "config/node.h"

#include "config/expect.h"
#include "config/list.h"

namespace effllm {
namespace {

using testing::config_error;

Mark place(std::vector<std::string> lines, int line, int column, std::string name = "exp/gru.yaml") {
  return {std::make_shared<const Source>(Source{std::move(name), std::move(lines)}), line, column};
}

TEST_CASE("config node: a mark names file, line and column") {
  CHECK(place({}, 12, 3).text() == "exp/gru.yaml:12:3");
  CHECK(Mark{}.text() == "built-in default");
  CHECK(place({}, 1, 9, "--set #2").text() == "--set #2");
}

TEST_CASE("config node: a diagnostic shows the line and carets below the word") {
  const Mark where = place({"model:", "  d_modle: 256"}, 2, 3);
  CHECK(config_error([&] { throw_at(where, "no such key"); }) ==
        "exp/gru.yaml:2:3: error: no such key\n"
        "    2 |   d_modle: 256\n"
        "      |   ^^^^^^^");
  CHECK(config_error([&] { throw_at({}, "bad"); }) == "built-in default: error: bad");
}

TEST_CASE("config node: carets stand below their word after tabs, wide characters and control bytes") {
  const std::string text = config_error([] { throw_at(place({"a:\t\xC3\xA4\x1B \"b c\""}, 1, 8), "m\x1B[31m"); });
  CHECK(text ==
        "exp/gru.yaml:1:8: error: m\\x1b[31m\n"
        "    1 | a: \xC3\xA4\\x1b \"b c\"\n"
        "      |          ^^^^^");
}

TEST_CASE("config node: of a long line only the neighbourhood is shown") {
  std::string line(100'000, 'x');
  line[50'000] = ' ';
  for (int column : {1, 2, 49'999, 50'002, 99'999, 100'000, 100'001, 200'000}) {
    const std::string text = config_error([&] { throw_at(place({line}, 1, column), "long"); });
    CHECK(text.size() < 500);
    CHECK(has(text, "^"));
  }
  std::string umlauts;
  for (int i = 0; i < 5000; ++i) umlauts += "\xC3\xA4";
  for (int column = 4000; column < 4004; ++column)
    CHECK(has(config_error([&] { throw_at(place({umlauts}, 1, column), "long"); }), "..."));
}

TEST_CASE("config node: twenty errors are reported and the rest counted") {
  Diagnostics found;
  CHECK(found.empty());
  found.throw_if_any();
  for (int i = 1; i <= 25; ++i) found.error(place({}, i, 1), "wrong");
  const std::string text = config_error([&] { found.throw_if_any(); });
  CHECK(has(text, "gru.yaml:20:1"));
  CHECK(!has(text, "gru.yaml:21:1"));
  CHECK(has(text, "and 5 more errors"));
}

TEST_CASE("config node: set replaces in place, appends, and makes a map of null") {
  ConfigNode node;
  node.set("a", "1");
  node.set("b", "2");
  node.set("a", ConfigNode::list({ConfigNode::scalar("x")}));
  REQUIRE(node.entries().size() == 2);
  CHECK(node.entries()[0].key == "a");
  CHECK(node.find("a")->is_list());
  CHECK(node.find("c") == nullptr);
  const ConfigNode more = node.with("c", ConfigNode::map());
  CHECK(more.find("c") != nullptr);
  CHECK(node.find("c") == nullptr);
  node.erase("a");
  node.erase("missing");
  CHECK(node.find("a") == nullptr);
  CHECK(ConfigNode::scalar("x").find("a") == nullptr);
  CHECK(config_error([] { ConfigNode::list().set("a", "1"); }) != "");
}

TEST_CASE("config node: type() is the scalar under `type`, and an error with the place otherwise") {
  CHECK(parse_config("{n: 1, type: gla}", "f").type() == "gla");
  CHECK(
      has(config_error([] { parse_config("a:\n  n: 1", "f").find("a")->type(); }), "f:2:3: error: `type` is missing"));
  CHECK(has(config_error([] { parse_config("type: [a]", "f").type(); }), "f:1:7: error: `type` must be a name"));
  CHECK(has(config_error([] { ConfigNode().type(); }), "built-in default: error: `type` is missing"));
}

struct Info {
  std::string_view name;
};
constexpr Info kGla{"gla"}, kMinGru{"min_gru"};
constexpr const Info* kAll[] = {&kGla, &kMinGru};

TEST_CASE("lists: an entry is found by its name, or the nearest one suggested") {
  const auto find = [](std::string_view name) -> const Info& {
    return List<Info>{"mixer", kAll}.find(name, place({"type: gal"}, 1, 7));
  };
  CHECK(&find("min_gru") == &kMinGru);
  CHECK(config_error([&] { find("gal"); }) ==
        "exp/gru.yaml:1:7: error: no mixer is called `gal`. Did you mean `gla`? `effllm list mixers` shows all.\n"
        "    1 | type: gal\n"
        "      |       ^^^");
  CHECK(has(config_error([&] { find("transformer"); }), "`transformer`. `effllm list mixers` shows all."));
  CHECK(config_error([&] { find(std::string(1'000'000, 'g')); }).size() < 300);
  CHECK(config_error([&] { find(""); }) != "");
}

}  // namespace
}  // namespace effllm
