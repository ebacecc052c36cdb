#include "stats/falling.h"

#include <doctest/doctest.h>

#include <cmath>

using namespace effllm;

TEST_CASE("falling curves: means where measurements rise, and no other falling curve is nearer") {
  using V = std::vector<double>;
  CHECK(falling_fit(V{5, 4, 2}) == V{5, 4, 2});
  CHECK(falling_fit(V{5, 2, 4, 1}) == V{5, 3, 3, 1});
  CHECK(falling_fit(V{1, 2, 6}) == V{3, 3, 3});
  CHECK(falling_fit(V{4, 1, 2, 3, 0}) == V{4, 2, 2, 2, 0});
  CHECK(falling_fit(V{3, 2, 1, 10}) == V{4, 4, 4, 4});  // one pool rises above the next
  CHECK(falling_fit(V{}).empty());
  // The definition, against every curve on a grid.
  const V y = {3, 1, 2, 2, 0};
  const V fit = falling_fit(y);
  const auto distance = [&](const V& f) {
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += (f[i] - y[i]) * (f[i] - y[i]);
    return sum;
  };
  const double least = distance(fit);
  V f(5);
  constexpr double kGrid = 0.25;
  for (f[0] = 3; f[0] >= 0; f[0] -= kGrid)
    for (f[1] = f[0]; f[1] >= 0; f[1] -= kGrid)
      for (f[2] = f[1]; f[2] >= 0; f[2] -= kGrid)
        for (f[3] = f[2]; f[3] >= 0; f[3] -= kGrid)
          for (f[4] = f[3]; f[4] >= 0; f[4] -= kGrid) CHECK(distance(f) >= least - 1e-12);
}

TEST_CASE("falling curves: where a level is reached first, by the logarithm between measurements") {
  const std::vector<double> x = {1, 10, 100, 1000}, y = {4, 3, 2, 2};
  CHECK(*first_reached(x, y, 3) == doctest::Approx(10));
  CHECK(*first_reached(x, y, 2.5) == doctest::Approx(std::sqrt(1000.0)));
  CHECK(*first_reached(x, y, 2) == doctest::Approx(100));  // the first of those that have it
  CHECK(*first_reached(x, y, 4) == 1);
  CHECK_FALSE(first_reached(x, y, 4.1));  // nothing is continued to the left
  CHECK_FALSE(first_reached(x, y, 1.9));  // nor to the right
  const std::vector<double> noisy = {4, 2, 3, 1};
  CHECK(*first_reached(x, noisy, 2.5) == doctest::Approx(10));
  CHECK(*first_reached(x, noisy, 2) == doctest::Approx(std::pow(10, 2 + 1.0 / 3)));
}
