// Every sequence mixer, because it is in the list.
#include <doctest/doctest.h>

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

TEST_CASE("mixers: a misspelt name is met with a suggestion") {
  CHECK_THROWS_WITH_AS(find_mixer("min_gur"), doctest::Contains("min_gru"), ConfigError);
}
