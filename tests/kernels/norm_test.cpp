#include <doctest/doctest.h>

#include "kernels/norm.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr double kEps = 1e-3;

// Mean of f(c) over columns [from, from + n).
template <class F>
double mean_over(int64_t from, int64_t n, F f) {
  double s = 0;
  for (int64_t c = from; c < from + n; ++c) s += f(c);
  return s / static_cast<double>(n);
}

}  // namespace

TEST_CASE_TEMPLATE("norm kernels: rms_norm over two groups at every width", T, float, double) {
  for_each_size(1, [](int64_t width, Layout at) {
    const Rows<T> x(3, 2 * width, at, 1), dy(3, 2 * width, {at.pad, at.offset}, 2);
    Rows<T> w(1, width, at, 3);
    for (T* weight : {w.data(), static_cast<T*>(nullptr)}) {
      const auto gain = [&](int64_t c) { return weight ? w.at(0, c % width) : 1.0; };
      const auto rms = [&](int64_t r, int64_t c) {
        return std::sqrt(mean_over(c / width * width, width, [&](int64_t i) { return x.at(r, i) * x.at(r, i); }) +
                         kEps);
      };
      Rows<T> y(3, 2 * width, at, 4), rstd(1, 6, at, 5);
      kernel::rms_norm<T>(x.view(), weight, width, T(kEps), y.view(), rstd.data());
      CHECK(y.error([&](int64_t r, int64_t c) { return x.at(r, c) / rms(r, c) * gain(c); }) < kTolerance<T>);
      CHECK(rstd.error([&](int64_t, int64_t i) { return 1 / rms(i / 2, i % 2 * width); }) < 4 * kTolerance<T>);
      for (bool add : {false, true}) {
        Rows<T> dx(3, 2 * width, at, 6), dw(1, width, at, 7);
        kernel::rms_norm_backward<T>(x.view(), weight, width, rstd.data(), dy.view(), dx.view(), add, dw.data(), add);
        CHECK(dx.error([&](int64_t r, int64_t c) {
          const double s = 1 / rms(r, c);
          const double m =
              mean_over(c / width * width, width, [&](int64_t i) { return dy.at(r, i) * gain(i) * x.at(r, i) * s; });
          return s * (gain(c) * dy.at(r, c) - x.at(r, c) * s * m) + (add ? dx.before(r, c) : 0);
        }) < 20 * kTolerance<T>);
        CHECK(dw.error([&](int64_t, int64_t c) {
          double s = add ? dw.before(0, c) : 0;
          for (int64_t r = 0; r < 3; ++r)
            for (int64_t g : {c, c + width}) s += dy.at(r, g) * x.at(r, g) / rms(r, g);
          return s;
        }) < 4 * kTolerance<T>);
      }
    }
  });
}

TEST_CASE_TEMPLATE("norm kernels: layer_norm at every width", T, float, double) {
  for_each_size(2, [](int64_t n, Layout at) {
    const Rows<T> x(3, n, at, 1), dy(3, n, {at.pad, at.offset}, 2);
    Rows<T> w(1, n, at, 3), b(1, n, at, 4), y(3, n, at, 5), mean(1, 3, at, 6), rstd(1, 3, at, 7);
    double mu[3], scale[3];
    for (int64_t r = 0; r < 3; ++r) {
      mu[r] = mean_over(0, n, [&](int64_t c) { return x.at(r, c); });
      scale[r] = 1 / std::sqrt(mean_over(0, n, [&](int64_t c) { return std::pow(x.at(r, c) - mu[r], 2); }) + kEps);
    }
    const auto normed = [&](int64_t r, int64_t c) { return (x.at(r, c) - mu[r]) * scale[r]; };
    for (T* bias : {b.data(), static_cast<T*>(nullptr)}) {
      kernel::layer_norm<T>(x.view(), w.data(), bias, x.view().cols, T(kEps), y.view(), mean.data(), rstd.data());
      CHECK(y.error([&](int64_t r, int64_t c) { return normed(r, c) * w.at(0, c) + (bias ? b.at(0, c) : 0); }) <
            20 * kTolerance<T>);
    }
    CHECK(mean.error([&](int64_t, int64_t r) { return mu[r]; }) < kTolerance<T>);
    CHECK(rstd.error([&](int64_t, int64_t r) { return scale[r]; }) < 20 * kTolerance<T>);
    for (bool add : {false, true}) {
      Rows<T> dx(3, n, at, 8), dw(1, n, at, 9), db(1, n, at, 10);
      kernel::layer_norm_backward<T>(x.view(), w.data(), x.view().cols, mean.data(), rstd.data(), dy.view(), dx.view(),
                                     add, dw.data(), add, db.data(), add);
      CHECK(dx.error([&](int64_t r, int64_t c) {
        const auto g = [&](int64_t i) { return w.at(0, i) * dy.at(r, i); };
        const double m = mean_over(0, n, g), mn = mean_over(0, n, [&](int64_t i) { return g(i) * normed(r, i); });
        return scale[r] * (g(c) - m - normed(r, c) * mn) + (add ? dx.before(r, c) : 0);
      }) < 200 * kTolerance<T>);
      const auto columns = [&](const Rows<T>& d, auto term) {
        return d.error(
            [&](int64_t, int64_t c) { return term(0, c) + term(1, c) + term(2, c) + (add ? d.before(0, c) : 0); });
      };
      CHECK(columns(dw, [&](int64_t r, int64_t c) { return dy.at(r, c) * normed(r, c); }) < 20 * kTolerance<T>);
      CHECK(columns(db, [&](int64_t r, int64_t c) { return dy.at(r, c); }) < kTolerance<T>);
    }
  });
}

TEST_CASE_TEMPLATE("norm kernels: gradients that nobody wants are not written", T, float, double) {
  for_each_isa([] {
    const Rows<T> x(2, 5, {0, 0}, 1), dy(2, 5, {0, 0}, 2);
    Rows<T> w(1, 5, {0, 0}, 3), y(2, 5, {0, 0}, 4), mean(1, 2, {0, 0}, 5), rstd(1, 2, {0, 0}, 6);
    kernel::layer_norm<T>(x.view(), w.data(), nullptr, x.view().cols, T(kEps), y.view(), mean.data(), rstd.data());
    Rows<T> both(2, 5, {0, 0}, 7), alone(2, 5, {0, 0}, 7), dw(1, 5, {0, 0}, 8), dw_alone(1, 5, {0, 0}, 8);
    const auto run = [&](View<T> dx, T* d_weight) {
      kernel::layer_norm_backward<T>(x.view(), w.data(), x.view().cols, mean.data(), rstd.data(), dy.view(), dx, false,
                                     d_weight, false, nullptr, false);
    };
    run(both.view(), dw.data());
    run(alone.view(), nullptr);
    run({}, dw_alone.data());
    CHECK(alone.error([&](int64_t r, int64_t c) { return both.at(r, c); }) == 0);
    CHECK(dw_alone.error([&](int64_t r, int64_t c) { return dw.at(r, c); }) == 0);
  });
}
