// Verdicts, and how often they are wrong in studies of random numbers.
#include "stats/verdict.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/random.h"

using namespace effllm;

namespace {

constexpr size_t kSeeds = 5;

// Scores of an arm of one study: a spread of seeds that arms share, and one of their own.
std::vector<double> scores(uint64_t study, uint64_t arm, double shift, double own = 0.01) {
  const RandomStream shared(1, "seeds", study), mine(1, "arm", study, arm);
  std::vector<double> all;
  for (size_t s = 0; s < kSeeds; ++s) all.push_back(1.9 + shift + 0.03 * shared.normal(s) + own * mine.normal(s));
  return all;
}

// How many of so many studies tell this verdict of an arm that is shifted.
double share(int studies, Verdict v, double shift, bool paired, int arms = 1) {
  int count = 0;
  for (int i = 0; i < studies; ++i) {
    std::vector<Series> others;
    for (int a = 1; a <= arms; ++a) others.push_back({scores(i, a, shift), paired});
    bool all = true;
    for (const Comparison& c : compare_all(others, scores(i, 0, 0))) all = all && c.verdict == v;
    count += all;
  }
  return static_cast<double>(count) / studies;
}

}  // namespace

TEST_CASE("verdicts: of equal arms no difference is told in 94 to 96 of 100 studies") {
  for (const double equal : {share(10000, Verdict::undecided, 0, true), share(10000, Verdict::undecided, 0, true, 3)}) {
    CHECK(equal >= 0.94);
    CHECK(equal <= 0.96);
  }
  CHECK(share(10000, Verdict::undecided, 0, false) >= 0.96);  // the spread of seeds, which pairs share, counts in full
}

TEST_CASE("verdicts: nor of arms that share nothing, by Welch's test") {
  int equal = 0;
  for (int i = 0; i < 10000; ++i) {
    const auto of = [&](const char* arm) {
      std::vector<double> all;
      for (size_t s = 0; s < kSeeds; ++s) all.push_back(2 + RandomStream(2, arm, static_cast<uint64_t>(i)).normal(s));
      return all;
    };
    equal += compare_all(std::vector{Series{of("a"), false}}, of("b"))[0].verdict == Verdict::undecided;
  }
  CHECK(equal >= 9400);
  CHECK(equal <= 9600);
}

TEST_CASE("verdicts: an effect of the smallest detectable size is found in 75 to 85 of 100 studies") {
  // Of pairs whose difference has this deviation, which the test doesn't know.
  const Estimate difference{
      .value = 0, .standard_error = 0.01 * std::sqrt(2.0 / kSeeds), .df = kSeeds - 1, .n = kSeeds};
  const double effect = smallest_detectable(difference, 0.05);
  for (const double found :
       {share(10000, Verdict::better, -effect, true), share(10000, Verdict::worse, effect, true)}) {
    CHECK(found >= 0.75);
    CHECK(found <= 0.85);
  }
  CHECK(share(2000, Verdict::better, -effect, false) < 0.3);  // pairs are what makes it visible
}

TEST_CASE("verdicts: one seed, no variance and an idle arm are named, and leave before the correction") {
  const std::vector<double> base = {1.90, 1.93, 1.91, 1.95};
  const Series idle{base, true}, shifted{{1.80, 1.83, 1.81, 1.85}, true}, clear{{1.801, 1.832, 1.813, 1.850}, true},
      alone{{1.5}, false};
  const std::vector<Series> all = {idle, shifted, clear, alone};
  const auto c = compare_all(all, base);
  CHECK(c[0].verdict == Verdict::none);
  CHECK(c[0].reason == "the same results as the baseline: nothing differs");
  CHECK(c[1].verdict == Verdict::none);
  CHECK(c[1].reason.starts_with("no variance"));
  CHECK(c[3].reason == "one seed tells nothing of the spread");
  CHECK(c[2].verdict == Verdict::better);
  CHECK(c[2].level == 0.05);  // one test, not four
  CHECK(c[2].p == c[2].difference.p());
  const std::vector<double> up = {1.9, 0.3, 0.7, 1.1};
  const std::vector<Series> down = {{{1.8, 0.2, 0.6, 1.0}, true}};
  CHECK(compare_all(down, up)[0].reason.starts_with("no variance"));  // but what rounding leaves
}

TEST_CASE("verdicts: an interval leaves out 0 exactly where there is a winner") {
  int winners = 0;
  for (int i = 0; i < 500; ++i) {
    std::vector<Series> arms;
    for (int a = 1; a <= 4; ++a) arms.push_back({scores(i, a, 0.02 * (a - 3)), a % 2 == 0});
    for (const Comparison& c : compare_all(arms, scores(i, 0, 0))) {
      const bool winner = c.verdict != Verdict::undecided;
      CHECK(winner == (c.lo > 0 || c.hi < 0));
      CHECK((c.p <= 0.05) == winner);
      if (winner) CHECK((c.verdict == Verdict::better) == (c.difference.value < 0));
      winners += winner;
    }
  }
  CHECK(winners > 100);
  CHECK(winners < 1900);
}
