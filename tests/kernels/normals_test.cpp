#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/normals.h"

using namespace effllm;

namespace {

// The largest distance to the C library's, relative to the value, of pairs [first, first + pairs).
double error_of(const RandomStream& numbers, uint64_t first, int64_t pairs) {
  std::vector<double> z(static_cast<size_t>(2 * pairs));
  const auto key = numbers.key(), stream = numbers.stream();
  kernel::normals(key.data(), stream.data(), first, pairs, z.data());
  double worst = 0;
  for (size_t i = 0; i < z.size(); ++i) {
    const double exact = numbers.normal(2 * first + i);
    worst = std::max(worst, std::abs(z[i] - exact) / std::abs(exact));
  }
  return worst;
}

}  // namespace

TEST_CASE("normals: within 2^-48 of the C library's, any number of pairs from any place") {
  for (const uint64_t seed : {1, 2, 3}) CHECK(error_of(RandomStream(seed, "z"), 0, 1 << 18) < 0x1p-48);
  for (const uint64_t first : {uint64_t{0}, uint64_t{5}, uint64_t{1} << 33})
    for (const int64_t pairs : {1, 7, 8, 9, 31}) CHECK(error_of(RandomStream(7, "z", 3, 4), first, pairs) < 0x1p-48);
}
