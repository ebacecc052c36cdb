#include "kernels/isa.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/error.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("isa: the generic kernels are always there, as the last choice") {
  const auto all = isas();
  REQUIRE_FALSE(all.empty());
  CHECK(all.back() == "generic");
  CHECK(std::find(all.begin(), all.end(), isa()) != all.end());
}

TEST_CASE("isa: a choice holds for both types, and every kernel of the table is filled") {
  for_each_isa([] {
    CAPTURE(isa());
    CHECK(kernels<float>().isa == isa());
    CHECK(kernels<double>().isa == isa());
    using Pointers = std::array<void*, sizeof(Kernels<float>) / sizeof(void*)>;
    for (const void* p : std::bit_cast<Pointers>(kernels<float>())) CHECK(p != nullptr);
    for (const void* p : std::bit_cast<Pointers>(kernels<double>())) CHECK(p != nullptr);
  });
}

TEST_CASE("isa: an unknown name is refused and changes nothing") {
  const std::string before(isa());
  CHECK_THROWS_WITH_AS(set_isa("sse9"), doctest::Contains("sse9"), ConfigError);
  CHECK(isa() == before);
}
