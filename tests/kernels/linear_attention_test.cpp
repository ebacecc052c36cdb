#include <doctest/doctest.h>

#include <vector>

#include "kernels/linear_attention.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kSteps = 5;
constexpr uint8_t kStarts[kSteps] = {0, 0, 1, 0, 1};

template <class T>
using Numbers = std::vector<T>;

// Positive numbers, so that no sum of keys comes near zero.
template <class T>
void make_positive(Rows<T>& x) {
  for (int64_t r = 0; r < x.view().rows; ++r)
    for (int64_t c = 0; c < x.view().cols; ++c) x.view().row(r)[c] = std::abs(x.view().row(r)[c]) + T(0.1);
}

template <class T>
double dot_of(const Rows<T>& a, int64_t ra, const Rows<T>& b, int64_t rb, int64_t n) {
  double s = 0;
  for (int64_t c = 0; c < n; ++c) s += a.at(ra, c) * b.at(rb, c);
  return s;
}

}  // namespace

TEST_CASE_TEMPLATE("linear attention kernels: the sum of keys at every width", T, float, double) {
  for_each_size(1, [](int64_t n, Layout at) {
    Rows<T> q(kSteps, n, at, 1), k(kSteps, n, at, 2), first(1, n, at, 8);
    const Rows<T> o(kSteps, n + 1, at, 3), dy(kSteps, n + 1, at, 4);
    for (Rows<T>* x : {&q, &k, &first}) make_positive(*x);
    Rows<T> y(kSteps, n + 1, at, 5), inverse(kSteps, 1, at, 6), d_q(kSteps, n, at, 7), d_k(kSteps, n, at, 9),
        d_o(kSteps, n + 1, at, 10);
    // z after each token and 1 / (q.z + eps).
    constexpr double kEps = 0.25;
    std::vector<Numbers<double>> z(kSteps, Numbers<double>(static_cast<size_t>(n)));
    Numbers<double> r(kSteps), e(kSteps);
    for (int64_t t = 0; t < kSteps; ++t) {
      double weight = kEps;
      for (int64_t c = 0; c < n; ++c) {
        const auto i = static_cast<size_t>(c);
        const auto now = static_cast<size_t>(t);
        z[now][i] = k.at(t, c) + (kStarts[t] ? 0 : t ? z[now - 1][i] : first.at(0, c));
        weight += q.at(t, c) * z[now][i];
      }
      r[static_cast<size_t>(t)] = 1 / weight;
      e[static_cast<size_t>(t)] = -dot_of(dy, t, o, t, n + 1) / (weight * weight);
    }
    Numbers<T> last(first.data(), first.data() + n), before = last, d_z(static_cast<size_t>(n), T(0.5)),
                                                     scratch(kSteps);
    const Normaliser<T> p{q.view(), k.view(), o.view(), kStarts, T(kEps), inverse.view()};
    kernel::normaliser<T>(p, y.view(), last.data());
    CHECK(y.error([&](int64_t t, int64_t c) { return o.at(t, c) * r[static_cast<size_t>(t)]; }) < 4 * kTolerance<T>);
    CHECK(std::abs(static_cast<double>(last[0]) - z[kSteps - 1][0]) < 4 * kTolerance<T>);
    for (bool add : {false, true}) {
      Rows<T> dq(kSteps, n, at, 7), dk(kSteps, n, at, 9), d_out(kSteps, n + 1, at, 10);
      Numbers<T> z0 = before, gradient = d_z;
      kernel::normaliser_backward<T>(p, {dy.view(), dq.view(), dk.view(), d_out.view(), add, add, add, z0.data(),
                                         gradient.data(), scratch.data()});
      CHECK(d_out.error([&](int64_t t, int64_t c) {
        return (add ? d_out.before(t, c) : 0) + dy.at(t, c) * r[static_cast<size_t>(t)];
      }) < 4 * kTolerance<T>);
      CHECK(dq.error([&](int64_t t, int64_t c) {
        return (add ? dq.before(t, c) : 0) +
               e[static_cast<size_t>(t)] * z[static_cast<size_t>(t)][static_cast<size_t>(c)];
      }) < 20 * kTolerance<T>);
      CHECK(dk.error([&](int64_t t, int64_t c) {
        double s = add ? dk.before(t, c) : 0;
        for (int64_t u = t; u < kSteps && (u == t || !kStarts[u]); ++u) {
          s += e[static_cast<size_t>(u)] * q.at(u, c);
          if (u == kSteps - 1) s += 0.5;
        }
        return s;
      }) < 20 * kTolerance<T>);
    }
  });
}

TEST_CASE_TEMPLATE("linear attention kernels: the bonus at every width", T, float, double) {
  for_each_size(1, [](int64_t n, Layout at) {
    const Rows<T> q(3, n, at, 1), k(3, n, at, 2), v(3, n + 1, at, 3), o(3, n + 1, at, 4), dy(3, n + 1, at, 5);
    Rows<T> u(1, n, at, 6), y(3, n + 1, at, 7);
    const auto weight = [&](int64_t r) {
      double s = 0;
      for (int64_t c = 0; c < n; ++c) s += q.at(r, c) * u.at(0, c) * k.at(r, c);
      return s;
    };
    const Bonus<T> p{q.view(), k.view(), v.view(), u.data()};
    kernel::bonus<T>(p, o.view(), y.view());
    CHECK(y.error([&](int64_t r, int64_t c) { return o.at(r, c) + weight(r) * v.at(r, c); }) < 20 * kTolerance<T>);
    for (bool add : {false, true}) {
      Rows<T> d_q(3, n, at, 8), d_k(3, n, at, 9), d_v(3, n + 1, at, 10), d_u(1, n, at, 11);
      kernel::bonus_backward<T>(p, {dy.view(), d_q.view(), d_k.view(), d_v.view(), add, add, add, d_u.data()});
      const auto e = [&](int64_t r) { return dot_of(dy, r, v, r, n + 1); };
      CHECK(d_q.error([&](int64_t r, int64_t c) {
        return (add ? d_q.before(r, c) : 0) + e(r) * u.at(0, c) * k.at(r, c);
      }) < 20 * kTolerance<T>);
      CHECK(d_k.error([&](int64_t r, int64_t c) {
        return (add ? d_k.before(r, c) : 0) + e(r) * u.at(0, c) * q.at(r, c);
      }) < 20 * kTolerance<T>);
      CHECK(d_v.error([&](int64_t r, int64_t c) { return (add ? d_v.before(r, c) : 0) + weight(r) * dy.at(r, c); }) <
            20 * kTolerance<T>);
      CHECK(d_u.error([&](int64_t, int64_t c) {
        double s = d_u.before(0, c);
        for (int64_t r = 0; r < 3; ++r) s += e(r) * q.at(r, c) * k.at(r, c);
        return s;
      }) < 20 * kTolerance<T>);
    }
  });
}

TEST_CASE_TEMPLATE("linear attention kernels: Taylor features at every width", T, float, double) {
  constexpr double kA = 0.75, kB = 1.5, kHalf = 0.5;
  for_each_size(1, [](int64_t f, Layout at) {
    const int64_t width = 1 + f + f * (f + 1) / 2;
    const Rows<T> x(2, f, at, 1), dy(2, width, at, 2);
    Rows<T> y(2, width, at, 3);
    std::vector<std::pair<int64_t, int64_t>> pairs;
    for (int64_t i = 0; i < f; ++i)
      for (int64_t j = i; j < f; ++j) pairs.emplace_back(i, j);
    kernel::taylor_features<T>(x.view(), T(kA), T(kB), T(kHalf), y.view());
    CHECK(y.error([&](int64_t r, int64_t c) {
      if (c == 0) return 1.0;
      if (c <= f) return kA * x.at(r, c - 1);
      const auto [i, j] = pairs[static_cast<size_t>(c - 1 - f)];
      return kB * x.at(r, i) * x.at(r, j) * (i == j ? kHalf : 1);
    }) < kTolerance<T>);
    for (bool add : {false, true}) {
      Rows<T> dx(2, f, at, 4);
      kernel::taylor_features_backward<T>(x.view(), T(kA), T(kB), T(kHalf), dy.view(), dx.view(), add);
      CHECK(dx.error([&](int64_t r, int64_t c) {
        double s = (add ? dx.before(r, c) : 0) + kA * dy.at(r, 1 + c);
        for (size_t n = 0; n < pairs.size(); ++n) {
          const auto [i, j] = pairs[n];
          const double g = kB * dy.at(r, 1 + f + static_cast<int64_t>(n)) * (i == j ? kHalf : 1);
          if (i == c) s += g * x.at(r, j);
          if (j == c) s += g * x.at(r, i);
        }
        return s;
      }) < 20 * kTolerance<T>);
    }
  });
}
