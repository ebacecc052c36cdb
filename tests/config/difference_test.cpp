#include "config/difference.h"

#include <doctest/doctest.h>

using namespace effllm;

namespace {

std::vector<std::string> texts(const std::string& before, const std::string& after) {
  std::vector<std::string> all;
  for (const ConfigChange& c : differences(parse_config(before, "a"), parse_config(after, "b")))
    all.push_back(c.text());
  return all;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("difference: each key that has another value, by its path") {
  CHECK(texts("{a: 1, b: {c: x, d: [1, 2]}}", "{b: {d: [1, 3], c: y}, a: 1}") ==
        Texts{"b.c: x -> y", "b.d[1]: 2 -> 3"});
  CHECK(texts("m: {layers: [{mixer: {type: gla, heads: 4}}, {mixer: {type: gla, heads: 4}}]}",
              "m: {layers: [{mixer: {type: gla, heads: 4}}, {mixer: {type: gla, heads: 8}}]}") ==
        Texts{"m.layers[1].mixer.heads: 4 -> 8"});
}

TEST_CASE("difference: what only one of them has, and what is of another kind") {
  CHECK(texts("{a: 1, b: 2}", "{b: 2, c: [3]}") == Texts{"a: 1 -> (not set)", "c: (not set) -> [3]"});
  CHECK(texts("l: [{x: 1}]", "l: [{x: 1}, {x: 2}]") == Texts{"l[1]: (not set) -> {x: 2}"});
  CHECK(texts("l: [1, 2]", "l: []") == Texts{"l[0]: 1 -> (not set)", "l[1]: 2 -> (not set)"});
  CHECK(texts("a: none", "a: {type: none}") == Texts{"a: none -> {type: none}"});
  CHECK(texts("a: 5", "a: \"5\"") == Texts{"a: 5 -> \"5\""});  // a number, a text
}

TEST_CASE("difference: order, style and needless quotes are none") {
  CHECK(texts("{a: 1, b: \"x\"}", "b: x\na: 1\n").empty());
  CHECK(texts("{}", "{}").empty());
  const ConfigNode same = parse_config("{a: {b: 1}}", "a");
  CHECK(differences(same, same).empty());
  CHECK(differences(*same.find("a"), parse_config("b: 2", "b"), "a")[0].key == "a.b");
}
