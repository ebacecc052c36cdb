#include <doctest/doctest.h>

#include "kernels/everywhere.h"
#include "kernels/token_mix.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("token_mix kernels: two parts have one result at every width, with weights of each token and without") {
  constexpr int64_t kSteps = 4;
  constexpr uint8_t kStarts[kSteps] = {0, 0, 1, 0};
  expect_one_result(1, [&]<class T>(int64_t n, Layout at, bool add) {
    const Rows<T> x(kSteps, n, at, 1), m(kSteps, 2 * n, at, 2), dy(kSteps, 2 * n, at, 3);
    Rows<T> mix(2, n, at, 4), first(1, n, at, 5), d_last(1, n, at, 6);
    Results<T> all;
    for (bool varies : {false, true}) {
      const TokenMix<T> p{.x = x.view(),
                          .before = first.data(),
                          .starts = kStarts,
                          .mix = mix.data(),
                          .mix_stride = mix.view().stride,
                          .m = varies ? m.view().columns(0, n) : View<const T>{},
                          .parts = 2,
                          .step = n};
      Rows<T> y(kSteps, 2 * n, at, 7), d_x(kSteps, n, at, 8), d_m(kSteps, 2 * n, at, 9), d_mix(2, n, at, 10),
          d_first(1, n, at, 11);
      kernel::token_mix<T>(p, y.view().columns(0, n));
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
      all.insert(all.end(), {{y, false, 2}, {d_x, add, 4}, {d_m, add, 4}, {d_mix, true, 4}, {d_first, add, 4}});
    }
    return all;
  });
}
