#include <doctest/doctest.h>

#include "kernels/loss.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

template <class T>
double log_sum_exp(const Rows<T>& z, int64_t row, int64_t cols) {
  double s = 0;
  for (int64_t c = 0; c < cols; ++c) s += std::exp(z.at(row, c));
  return std::log(s);
}

}  // namespace

TEST_CASE_TEMPLATE("loss kernel: log Z - z and log^2 Z of each row, their sums and gradients at every size", T, float,
                   double) {
  for_each_size(1, [](int64_t cols, Layout at) {
    const Rows<T> z(4, cols, at, 1, 2);
    const int32_t targets[] = {0, -1, static_cast<int32_t>(cols - 1), static_cast<int32_t>(cols / 2)};
    for (const double z_weight : {0.0, 0.25}) {
      Rows<T> d(4, cols, {at.pad, at.offset}, 2);
      double nats[4], total = 0, squares = -1, expected_squares = 0;
      const double sum =
          kernel::cross_entropy<T>(z.view(), targets, nullptr, T(0.5), z_weight, d.view(), nats, &squares);
      for (int64_t r = 0; r < 4; ++r) {
        const double expected = targets[r] < 0 ? 0 : log_sum_exp(z, r, cols) - z.at(r, targets[r]);
        CHECK(std::abs(nats[r] - expected) < kTolerance<T>);
        total += nats[r];
        if (targets[r] >= 0) expected_squares += std::pow(log_sum_exp(z, r, cols), 2);
      }
      CHECK(sum == total);
      CHECK(std::abs(squares - expected_squares) < 10 * kTolerance<T>);
      const auto gradient = [&](const double* weights) {
        return d.error([&](int64_t r, int64_t c) {
          if (targets[r] < 0) return 0.0;
          const double log_z = log_sum_exp(z, r, cols), p = std::exp(z.at(r, c) - log_z);
          return (weights ? weights[r] : 1) * 0.5 * (p - (c == targets[r])) + z_weight * 2 * log_z * p;
        });
      };
      CHECK(gradient(nullptr) < (z_weight > 0 ? 4 : 1) * kTolerance<T>);
      // Without a gradient the loss is the same; the gradient may take the place of the logits.
      CHECK(std::abs(kernel::cross_entropy<T>(z.view(), targets, nullptr, T(0.5), z_weight, {}, nullptr, nullptr) -
                     sum) < 4 * kTolerance<T>);
      Rows<T> in_place(4, cols, at, 1, 2);
      CHECK(sum == kernel::cross_entropy<T>(in_place.view(), targets, nullptr, T(0.5), z_weight, in_place.view(),
                                            nullptr, z_weight > 0 ? &squares : nullptr));
      CHECK(in_place.error([&](int64_t r, int64_t c) { return d.at(r, c); }) == 0);
      // A weight of each row multiplies its loss, and not its log^2 Z.
      const double weights[] = {3, 1e300, 0, 0.25}, before = squares;
      CHECK(kernel::cross_entropy<T>(z.view(), targets, weights, T(0.5), z_weight, d.view(), nats, &squares) ==
            3 * nats[0] + 0.25 * nats[3]);
      CHECK(squares == before);
      CHECK(gradient(weights) < 8 * kTolerance<T>);
    }
  });
}

TEST_CASE_TEMPLATE("loss kernel: a common shift changes nothing, huge or not", T, float, double) {
  for_each_isa([] {
    Rows<T> z(1, 5, {0, 0}, 3);
    const int32_t target = 2;
    for (int64_t c = 0; c < 5; ++c) z.view().row(0)[c] = static_cast<T>(c);
    const double plain = kernel::cross_entropy<T>(z.view(), &target, nullptr, T(1), 0, {}, nullptr, nullptr);
    for (double shift : {-1e4, 1e4, 1e6}) {
      for (int64_t c = 0; c < 5; ++c) z.view().row(0)[c] = static_cast<T>(static_cast<double>(c) + shift);
      CHECK(kernel::cross_entropy<T>(z.view(), &target, nullptr, T(1), 0, {}, nullptr, nullptr) ==
            doctest::Approx(plain).epsilon(1e-9));
    }
  });
}
