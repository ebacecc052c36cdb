#include "base/random.h"

#include <doctest/doctest.h>

#include <set>
#include <vector>

using namespace effllm;

TEST_CASE("random: Philox 4x32-10 gives the known answers of Random123") {
  using Block = Philox::Block;
  constexpr uint32_t kOnes = 0xffffffff;
  static_assert(Philox::run({0, 0, 0, 0}, 0, 0) == Block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(Philox::run({kOnes, kOnes, kOnes, kOnes}, kOnes, kOnes) ==
        Block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(Philox::run({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, 0xa4093822, 0x299f31d0) ==
        Block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("random: a number depends on seed, purpose, both coordinates and index, and on nothing else") {
  const RandomStream s(7, "dropout", 3, 11);
  CHECK(s.bits(5) == RandomStream(7, "dropout", 3, 11).bits(5));
  std::set<uint64_t> seen;
  const auto fresh = [&](const RandomStream& r) { return seen.insert(r.bits(5)).second; };
  CHECK(fresh(s));
  constexpr uint64_t kHigh = uint64_t{1} << 32;  // the upper halves count too
  for (uint64_t d : {uint64_t{1}, kHigh}) {
    CHECK(fresh(RandomStream(7 + d, "dropout", 3, 11)));
    CHECK(fresh(RandomStream(7, "dropout", 3 + d, 11)));
    CHECK(fresh(RandomStream(7, "dropout", 3, 11 + d)));
    CHECK(s.bits(5) != s.bits(5 + d));
  }
  CHECK(fresh(RandomStream(7, "init", 3, 11)));
}

TEST_CASE("random: uniform numbers fill the interval from 0 to 1 evenly") {
  const RandomStream s(1, "uniform");
  constexpr int kN = 100'000, kBins = 10;
  std::vector<int> bin(kBins);
  double sum = 0;
  for (uint64_t i = 0; i < kN; ++i) {
    const double u = s.uniform(i);
    if (u < 0 || u >= 1) FAIL("outside: ", u);
    ++bin[static_cast<size_t>(u * kBins)];
    sum += u;
  }
  CHECK(std::abs(sum / kN - 0.5) < 5 * std::sqrt(1 / 12.0 / kN));
  double chi2 = 0;
  for (int n : bin) chi2 += (n - kN / kBins) * (n - kN / kBins) / static_cast<double>(kN / kBins);
  CHECK(chi2 < 34);  // 9 degrees of freedom: p = 1e-4
}

TEST_CASE("random: normal numbers have the moments of the normal distribution, neighbours don't correlate") {
  const RandomStream s(2, "normal");
  constexpr int kN = 100'000;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0, neighbours = 0;
  for (uint64_t i = 0; i < kN; ++i) {
    const double x = s.normal(i);
    if (!std::isfinite(x)) FAIL("not finite: ", i);
    m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
    neighbours += x * s.normal(i ^ 1);
  }
  const double se = 1 / std::sqrt(static_cast<double>(kN));
  CHECK(std::abs(m1 / kN) < 5 * se);
  CHECK(std::abs(m2 / kN - 1) < 5 * std::sqrt(2.0) * se);
  CHECK(std::abs(m3 / kN) < 5 * std::sqrt(15.0) * se);
  CHECK(std::abs(m4 / kN - 3) < 5 * std::sqrt(96.0) * se);
  CHECK(std::abs(neighbours / kN) < 5 * std::sqrt(2.0) * se);  // each pair counts twice
}

TEST_CASE("random: below(n) reaches every value and no other") {
  const RandomStream s(3, "below");
  std::vector<int> count(7);
  for (uint64_t i = 0; i < 7000; ++i) {
    const uint64_t v = s.below(i, 7);
    REQUIRE(v < 7);
    ++count[v];
  }
  for (int n : count) CHECK(std::abs(n - 1000) < 150);
  CHECK(s.below(0, 1) == 0);
  CHECK(s.below(0, ~uint64_t{0}) < ~uint64_t{0});
}
