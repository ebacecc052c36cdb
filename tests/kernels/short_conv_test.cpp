#include <doctest/doctest.h>

#include "kernels/rows.h"
#include "kernels/short_conv.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// True where token t sees token s <= t (s < 0: history): no document starts in (s, t].
bool sees(const uint8_t* starts, int64_t t, int64_t s) {
  for (int64_t i = t; starts && i > s && i >= 0; --i)
    if (starts[i]) return false;
  return true;
}

template <class T>
void check(int64_t tokens, int64_t cols, int64_t width, int64_t offset, bool with_history, bool with_starts) {
  const Layout at{offset, 3};
  const Rows<T> x(tokens, cols, at, 1), w(width, cols, at, 2), history(width - 1, cols, at, 3), dy(tokens, cols, at, 5);
  Rows<T> y(tokens, cols, {1, 3}, 4);
  const std::vector<uint8_t> flags = {0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0};
  const uint8_t* starts = with_starts ? flags.data() : nullptr;
  const View<const T> past = with_history ? history.view() : View<const T>{};
  const double tolerance = 10 * kTolerance<T>;
  const auto source = [&](int64_t s, int64_t c) {
    return s >= 0 ? x.at(s, c) : with_history ? history.at(width - 1 + s, c) : 0.0;
  };
  // Sums f(t, j, s) over tokens t and taps j that see token s.
  const auto sum_of_taps = [&](auto f) {
    double sum = 0;
    for (int64_t t = 0; t < tokens; ++t)
      for (int64_t j = 0; j < width; ++j)
        if (const int64_t s = t - (width - 1) + j; sees(starts, t, s)) sum += f(t, j, s);
    return sum;
  };
  kernel::short_conv<T>(x.view(), w.view(), past, starts, y.view());
  CHECK(y.error([&](int64_t r, int64_t c) {
    return sum_of_taps([&](int64_t t, int64_t j, int64_t s) { return t == r ? w.at(j, c) * source(s, c) : 0; });
  }) < tolerance);
  for (bool add : {true, false}) {
    Rows<T> dx(tokens, cols, {1, 3}, 6), dw(width, cols, at, 7), dh(width - 1, cols, {2, 3}, 8);
    kernel::short_conv_backward<T>(x.view(), w.view(), past, starts, dy.view(), dx.view(), add, dw.view(), add,
                                   dh.view(), add);
    const auto of_source = [&](int64_t at_s, int64_t c) {
      return sum_of_taps([&](int64_t t, int64_t j, int64_t s) { return s == at_s ? dy.at(t, c) * w.at(j, c) : 0; });
    };
    CHECK(dx.error([&](int64_t s, int64_t c) { return (add ? dx.before(s, c) : 0) + of_source(s, c); }) < tolerance);
    CHECK(dh.error([&](int64_t r, int64_t c) { return (add ? dh.before(r, c) : 0) + of_source(r - (width - 1), c); }) <
          tolerance);
    CHECK(dw.error([&](int64_t tap, int64_t c) {
      return (add ? dw.before(tap, c) : 0) +
             sum_of_taps([&](int64_t t, int64_t j, int64_t s) { return j == tap ? dy.at(t, c) * source(s, c) : 0; });
    }) < tolerance);
  }
}

}  // namespace

TEST_CASE("short_conv kernel: equals the sum over taps at all sizes and offsets, forward and backward") {
  for_each_isa([&] {
    CAPTURE(isa());
    for (int64_t cols = 0; cols <= 33; ++cols)
      for (int64_t width : {1, 2, 3, 4, 7}) {
        const int64_t tokens = 1 + (cols + width) % 13;
        CAPTURE(cols);
        CAPTURE(width);
        check<float>(tokens, cols, width, cols % 5, cols % 2 == 0, width % 2 == 0);
        check<double>(tokens, cols, width, cols % 3, cols % 2 == 1, width % 2 == 1);
      }
    check<double>(13, 9, 4, 1, true, true);
    check<double>(13, 9, 4, 1, true, false);
  });
}
