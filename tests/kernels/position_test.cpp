#include <doctest/doctest.h>

#include "kernels/everywhere.h"
#include "kernels/position.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("position kernels: rotate has one result for pairs of every head at every width") {
  expect_one_result(1, []<class T>(int64_t half, Layout at, bool add) {
    Rows<T> cosines(2, half, {0, 0}, 2), sines(2, half, {0, 0}, 3);  // any numbers: the map is linear in them
    Results<T> all;
    for (int64_t rest : {0, 1, 3})  // columns of a head that stay
      for (bool inverse : {false, true}) {
        const int64_t heads = 2, head_dim = 2 * half + rest;
        const Rows<T> x(2, heads * head_dim, at, 1);
        Rows<T> y(2, heads * head_dim, {at.pad, at.offset}, 4);
        kernel::rotate<T>(x.view(), heads, head_dim, 2 * half, cosines.data(), sines.data(), inverse, y.view(), add);
        all.push_back({y, add});
      }
    return all;
  });
}

TEST_CASE_TEMPLATE("position kernels: dropout follows Philox' words at every size", T, float, double) {
  constexpr double kP = 0.3;
  const double below = std::floor(kP * 4294967296.0);  // words under it drop
  constexpr int64_t kSample = (int64_t{5} << 32) + 3, kRow = 7, kRowsPerSample = 2;
  for_each_isa([&] {
    for (const Layout& at : kLayouts)
      for (int64_t cols = 0; cols < 150; cols += cols < kMostColumns ? 1 : 13) {
        const Rows<T> x(5, cols, at, 1);
        for (bool add : {false, true}) {
          Rows<T> y(5, cols, {at.pad, at.offset}, 2);
          kernel::dropout<T>(x.view(), kP, 11, 12, kSample, kRow, kRowsPerSample, y.view(), add);
          CHECK(y.error([&](int64_t r, int64_t c) {
            const auto sample = static_cast<uint64_t>(kSample + r / kRowsPerSample);
            const auto words =
                Philox::run({static_cast<uint32_t>(c / 4), static_cast<uint32_t>(kRow + r % kRowsPerSample),
                             static_cast<uint32_t>(sample), static_cast<uint32_t>(sample >> 32)},
                            11, 12);
            const bool kept = words[static_cast<size_t>(c % 4)] >= below;
            return (kept ? x.at(r, c) / (1 - below / 4294967296.0) : 0) + (add ? y.before(r, c) : 0);
          }) < kTolerance<T>);
        }
      }
  });
}
