#include <doctest/doctest.h>

#include "kernels/rows.h"
#include "kernels/token_mix.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE_TEMPLATE("token_mix kernels: two parts at every width", T, float, double) {
  constexpr int64_t kSteps = 4;
  constexpr uint8_t kStarts[kSteps] = {0, 0, 1, 0};
  for_each_size(1, [&](int64_t n, Layout at) {
    const Rows<T> x(kSteps, n, at, 1), m(kSteps, 2 * n, at, 2), dy(kSteps, 2 * n, at, 3);
    Rows<T> mix(2, n, at, 4), first(1, n, at, 5), d_last(1, n, at, 6);
    for (bool varies : {false, true}) {
      const auto before = [&](int64_t t, int64_t c) { return kStarts[t] ? 0 : t ? x.at(t - 1, c) : first.at(0, c); };
      const auto w = [&](int64_t t, int64_t i, int64_t c) { return mix.at(i, c) + (varies ? m.at(t, i * n + c) : 0); };
      const TokenMix<T> p{.x = x.view(),
                          .before = first.data(),
                          .starts = kStarts,
                          .mix = mix.data(),
                          .mix_stride = mix.view().stride,
                          .m = varies ? m.view().columns(0, n) : View<const T>{},
                          .parts = 2,
                          .step = n};
      Rows<T> y(kSteps, 2 * n, at, 7);
      kernel::token_mix<T>(p, y.view().columns(0, n));
      CHECK(y.error([&](int64_t t, int64_t c) {
        return x.at(t, c % n) + (before(t, c % n) - x.at(t, c % n)) * w(t, c / n, c % n);
      }) < 2 * kTolerance<T>);
      for (bool add : {false, true}) {
        Rows<T> d_x(kSteps, n, at, 8), d_m(kSteps, 2 * n, at, 9), d_mix(2, n, at, 10), d_first(1, n, at, 11);
        kernel::token_mix_backward<T>(p, {.dy = dy.view().columns(0, n),
                                          .d_last = d_last.data(),
                                          .d_x = d_x.view(),
                                          .d_m = d_m.view().columns(0, n),
                                          .d_mix = d_mix.data(),
                                          .d_mix_stride = d_mix.view().stride,
                                          .d_before = d_first.data(),
                                          .add_x = add,
                                          .add_m = add,
                                          .add_before = add});
        const auto moved = [&](int64_t t, int64_t c) {
          return dy.at(t, c) * w(t, 0, c) + dy.at(t, n + c) * w(t, 1, c);
        };
        CHECK(d_x.error([&](int64_t t, int64_t c) {
          double s = (add ? d_x.before(t, c) : 0) + dy.at(t, c) + dy.at(t, n + c) - moved(t, c);
          if (t + 1 < kSteps && !kStarts[t + 1]) s += moved(t + 1, c);
          return s + (t + 1 == kSteps ? d_last.at(0, c) : 0);
        }) < 4 * kTolerance<T>);
        const auto slope = [&](int64_t t, int64_t i, int64_t c) {
          return dy.at(t, i * n + c) * (before(t, c) - x.at(t, c));
        };
        CHECK(d_m.error([&](int64_t t, int64_t c) { return (add ? d_m.before(t, c) : 0) + slope(t, c / n, c % n); }) <
              4 * kTolerance<T>);
        CHECK(d_mix.error([&](int64_t i, int64_t c) {
          double s = d_mix.before(i, c);
          for (int64_t t = 0; t < kSteps; ++t) s += slope(t, i, c);
          return s;
        }) < 4 * kTolerance<T>);
        CHECK(d_first.error([&](int64_t, int64_t c) { return (add ? d_first.before(0, c) : 0) + moved(0, c); }) <
              4 * kTolerance<T>);
      }
    }
  });
}
