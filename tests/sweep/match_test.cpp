#include "sweep/match.h"

#include <doctest/doctest.h>

#include <cmath>

#include "support/paths.h"
#include "sweep/forecast.h"

using namespace effllm;

TEST_CASE("match: the nearest multiple by the ratio, over what does not work") {
  int asked = 0;
  const auto square = [&](int64_t n) -> std::optional<double> {
    ++asked;
    return static_cast<double>(n * n);
  };
  CHECK(nearest(square, 1000 * 1000, 8, 1 << 16) == 1000);
  CHECK(asked < 40);
  CHECK(nearest(square, 1003.9 * 1003.9, 8, 1 << 16) == 1000);  // sqrt(1000 * 1008) = 1003.99
  CHECK(nearest(square, 1004.1 * 1004.1, 8, 1 << 16) == 1008);
  CHECK(nearest(square, 1, 8, 1 << 16) == 8);     // less than the least
  CHECK(nearest(square, 1e12, 8, 4096) == 4096);  // more than the most
  const auto by_24 = [&](int64_t n) { return n % 24 ? std::nullopt : square(n); };
  for (int64_t target = 30; target < 3000; target += 7) {
    const int64_t n = *nearest(by_24, static_cast<double>(target * target), 8, 1 << 16);
    CHECK(n % 24 == 0);
    const double off = std::abs(std::log(static_cast<double>(n) / static_cast<double>(target)));
    for (const int64_t other : {n - 24, n + 24})
      if (other > 0) CHECK(off <= std::abs(std::log(static_cast<double>(other) / static_cast<double>(target))) + 1e-12);
  }
  CHECK_FALSE(nearest([](int64_t) -> std::optional<double> { return std::nullopt; }, 5, 1, 100));
}

TEST_CASE("match: sizes are those that describe counts") {
  const std::string file = std::string(test::kSourceDir) + "/configs/quickstart.yaml";
  const RunConfig c = read_run_config(load_config(file), file);
  const ModelSize size = size_of(c, 256);
  CHECK(size.parameters == 756864);
  CHECK(size.of("params") == 756864);
  CHECK(size.of("flops") == size.flops_per_token);
  CHECK(size.of("state") == static_cast<double>(size.state_bytes));
  CHECK(size.flops_per_token > 6.0 * 700000);
  CHECK(size.state_bytes > 0);
}

TEST_CASE("forecast: workers take the next run that is left") {
  CHECK(makespan({3, 3, 3}, 1) == 9);
  CHECK(makespan({3, 3, 3}, 2) == 6);
  CHECK(makespan({1, 5, 1, 1}, 2) == 5);
  CHECK(makespan({}, 4) == 0);
}
