#include "kernels/isa.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "base/error.h"
#include "kernels/probe.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("isa: the generic kernels are always there, as the last choice") {
  const auto all = isas();
  REQUIRE_FALSE(all.empty());
  CHECK(all.back() == "generic");
  CHECK(std::find(all.begin(), all.end(), isa()) != all.end());
}

TEST_CASE("isa: a choice holds for the kernels of both types") {
  std::set<const void*> chosen;
  for_each_isa([&] {
    chosen.insert(reinterpret_cast<const void*>(kernel::read_all<float>.run));
    chosen.insert(reinterpret_cast<const void*>(kernel::read_all<double>.run));
  });
  CHECK(chosen.size() == 2 * isas().size());
}

TEST_CASE("isa: an unknown name is refused and changes nothing") {
  const std::string before(isa());
  CHECK_THROWS_WITH_AS(set_isa("sse9"), doctest::Contains("sse9"), ConfigError);
  CHECK(isa() == before);
}
