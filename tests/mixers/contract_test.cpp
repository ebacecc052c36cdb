// Every sequence mixer, because it is in the list.
#include <doctest/doctest.h>

#include <regex>

#include "blocks/block.h"
#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "support/contract_parts.h"

using namespace effllm;
using namespace effllm::test;

#define ENTRY(name)                                                                            \
  TEST_CASE("mixer " #name ": keeps the contract") { check_contract(all_mixers.find(#name)); } \
  TEST_CASE("mixer " #name ": golden values") { check_golden(all_mixers.find(#name), "mixer"); }
#include "lists/mixers.def"
#undef ENTRY

TEST_CASE("mixers that see both sides keep the contract in that direction too, and see them") {
  int found = 0;
  for (const LayerInfo* m : all_mixers) {
    if (!m->both_sides) continue;
    ++found;
    CAPTURE(m->name);
    LayerInfo both = *m;
    both.causal_form = false;
    both.waivers.split = "a token needs those after it";
    check_contract(both);
    const Built built(both, parse_config(m->tiny, "tiny"), kWidth, DType::f64);
    const Tensor x = random({1, 6, kWidth}, 2), y = built.forward(x);
    for (const int64_t t : {0, 3, 5}) {
      const Tensor changed = x.clone();
      for (int64_t c = 0; c < kWidth; ++c) put(changed, t, c, -at(x, t, c));
      for (int64_t other = 0; other < 6; ++other)
        CHECK(max_diff(token(built.forward(changed), other), token(y, other)) > 1e-9);
    }
  }
  CHECK(found == 2);
}

TEST_CASE("mixers: every causal one keeps the contract inside of bidirectional") {
  for (const LayerInfo* m : all_mixers) {
    if (!m->causal_form) continue;
    CAPTURE(m->name);
    ConfigNode of = parse_config(m->tiny, "tiny");
    of.set("type", m->name);
    const std::string options = "{of: " + to_flow_yaml(of) + "}";
    LayerInfo both = all_mixers.find("bidirectional");
    both.tiny = both.needs = options;
    both.variants = {};
    both.period = m->period;
    check_contract(both);
  }
}

TEST_CASE("mixers and channel mixers name the code they follow, with its commit, or why there is none") {
  const std::regex named("[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+@[0-9a-f]{7,}(, .+|; .+)?"), none("none: .+");
  for (const auto& list : {all_mixers, all_ffns, all_blocks})
    for (const LayerInfo* m : list) {
      CAPTURE(m->name);
      const std::string source(m->source);
      CHECK((std::regex_match(source, named) || std::regex_match(source, none)));
      CHECK_FALSE(m->paper.empty());
    }
}

TEST_CASE("mixers: a misspelt name is met with a suggestion") {
  CHECK_THROWS_WITH_AS(all_mixers.find("min_gur"), doctest::Contains("min_gru"), ConfigError);
}
