// Every sequence mixer, because it is in the list.
#include <doctest/doctest.h>

#include <regex>

#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "support/contract.h"

using namespace effllm;

#define EFFLLM_MIXER(id) \
  TEST_CASE("mixer " #id ": keeps the contract") { test::check_contract(mixers::id); }
#include "mixers/all.def"
#undef EFFLLM_MIXER

#define EFFLLM_MIXER(id) \
  TEST_CASE("mixer " #id ": golden values") { test::check_golden(mixers::id, "mixer"); }
#include "mixers/all.def"
#undef EFFLLM_MIXER

TEST_CASE("mixers and channel mixers name the code they follow, with its commit, or why there is none") {
  const std::regex named("[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+@[0-9a-f]{7,}(, .+|; .+)?"), none("none: .+");
  for (const auto& list : {all_mixers(), all_ffns()})
    for (const MixerInfo* m : list) {
      CAPTURE(m->name);
      const std::string source(m->source);
      CHECK((std::regex_match(source, named) || std::regex_match(source, none)));
      CHECK_FALSE(m->paper.empty());
    }
}

TEST_CASE("mixers: a misspelt name is met with a suggestion") {
  CHECK_THROWS_WITH_AS(find_mixer("min_gur"), doctest::Contains("min_gru"), ConfigError);
}
