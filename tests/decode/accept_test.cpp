#include "decode/accept.h"

#include <doctest/doctest.h>

#include <cmath>

#include "base/random.h"

using namespace effllm;

namespace {

using Weights = std::vector<double>;

// Draws of accept() for one drafted token from q, and what follows it where it stays.
struct Drawn {
  Weights first = Weights(3), second = Weights(3);
  double stayed = 0;
};

Drawn draw_many(const Weights& p, const Weights& q, uint64_t n) {
  Drawn d;
  for (uint64_t s = 0; s < n; ++s) {
    const Drafted one{draw(q, RandomStream(1, "decode.draft", s, 0).uniform(0)), q};
    const Accepted a = accept(
        std::span(&one, 1), [&](int64_t) { return p; }, 1, s, 0);
    d.stayed += static_cast<double>(a.drafted);
    ++d.first[static_cast<size_t>(a.drafted ? one.token : a.next)];
    if (a.drafted) ++d.second[static_cast<size_t>(a.next)];
  }
  return d;
}

}  // namespace

TEST_CASE("accept: tokens have the target's distribution, and as many stay as the distributions share") {
  constexpr uint64_t kDraws = 200000;
  const auto n = static_cast<double>(kDraws);
  for (const auto& [p, q] : {std::pair<Weights, Weights>{{0.5, 0.3, 0.2}, {0.2, 0.5, 0.3}},
                             {{0.5, 0.5, 0}, {0, 0.3, 0.7}},
                             {{1, 0, 0}, {0.1, 0.2, 0.7}},
                             {{0.1, 0.2, 0.7}, {0, 1, 0}}}) {
    const Drawn d = draw_many(p, q, kDraws);
    double both = 0;
    for (size_t i = 0; i < 3; ++i) {
      both += std::min(p[i], q[i]);
      CHECK(std::abs(d.first[i] / n - p[i]) < 4.5 * std::sqrt(p[i] * (1 - p[i]) / n) + 1e-12);
      if (d.stayed > 0)
        CHECK(std::abs(d.second[i] / d.stayed - p[i]) < 4.5 * std::sqrt(p[i] * (1 - p[i]) / d.stayed) + 1e-12);
    }
    CHECK(std::abs(d.stayed / n - both) < 4.5 * std::sqrt(both * (1 - both) / n) + 1e-12);
  }
}

TEST_CASE("accept: what is drafted from the same distribution always stays, and nothing behind one that does not") {
  const Weights p = {0.2, 0.5, 0.3}, never = {0, 0.5, 0.5};
  const std::vector<Drafted> same(3, Drafted{0, p});
  for (uint64_t s = 0; s < 1000; ++s)
    CHECK(accept(
              same, [&](int64_t) { return p; }, 1, s, 0)
              .drafted == 3);
  int64_t asked = -1;
  const Accepted a = accept(
      same,
      [&](int64_t i) {
        asked = i;
        return i == 1 ? never : p;
      },
      1, 0, 0);
  CHECK(a.drafted == 1);
  CHECK(asked == 1);
  CHECK(a.next != 0);
}

TEST_CASE("accept: a token is a function of seed, sample and place") {
  const Weights p = {0.2, 0.5, 0.3}, q = {0.6, 0.2, 0.2};
  const Drafted one{0, q};
  const auto at = [&](uint64_t seed, uint64_t sample, uint64_t index) {
    const Accepted a = accept(
        std::span(&one, 1), [&](int64_t) { return p; }, seed, sample, index);
    return std::pair{a.drafted, a.next};
  };
  int other[3] = {};
  for (uint64_t i = 0; i < 200; ++i) {
    CHECK(at(1, 0, i) == at(1, 0, i));
    other[0] += at(1, 0, i) != at(2, 0, i);
    other[1] += at(1, 0, i) != at(1, 1, i);
    other[2] += at(1, 0, i) != at(1, 0, i + 200);
  }
  for (const int n : other) CHECK(n > 50);
}
