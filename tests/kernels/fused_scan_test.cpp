#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "cores/scan/scan_forms.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kTokens = 5;
constexpr uint8_t kStarts[kTokens] = {0, 0, 1, 0, 0};

template <class T>
void check(const ScanForm& f, int64_t cols, const Layout& at, bool with_h0, bool add) {
  Rows<T> x0(kTokens, cols, at, 1), x1(kTokens, cols, at, 2), x2(kTokens, cols, at, 3), row(1, cols, at, 4),
      h0(1, cols, at, 5), h(kTokens, cols, at, 6), d_h(kTokens, cols, at, 7), last(1, cols, at, 8),
      d0(kTokens, cols, at, 9), d1(kTokens, cols, at, 10), d2(kTokens, cols, at, 11), d_row(1, cols, at, 12),
      d_h0(1, cols, at, 13);
  for (int64_t c = 0; c < cols; ++c) row.data()[c] = static_cast<T>(0.1 + 0.05 * static_cast<double>(c % 9));
  const Scan<T> in = {
      {x0.view(), x1.view(), x2.view()}, row.data(), with_h0 ? h0.data() : nullptr, kStarts, f.candidate};
  const auto& scan = std::get<const Kernel<ScanSignature<T>>&>(std::tie(f.f, f.d));
  scan(in, h.view(), nullptr);
  // One number of column c after changing one input by e: h_T weighed by `last`, and every h by d_h.
  const auto loss = [&](int64_t c, int which, int64_t token, double e) {
    const auto value = [&](const Rows<T>& x, int64_t t, int k) {
      return x.at(t, c) + (which == k && token == t ? e : 0);
    };
    double state = with_h0 ? h0.at(0, c) + (which == 4 ? e : 0) : 0, sum = 0;
    for (int64_t t = 0; t < kTokens; ++t) {
      const Coefficients v = f.at(kStarts[t] || (t == 0 && !with_h0), value(x0, t, 0), value(x1, t, 1), value(x2, t, 2),
                                  row.at(0, c) + (which == 3 ? e : 0));
      state = (kStarts[t] ? 0 : v.a * state) + v.b;
      sum += d_h.at(t, c) * state;
    }
    return sum + last.at(0, c) * state;
  };
  const double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-7;
  CHECK(h.error([&](int64_t r, int64_t c) {
    double state = with_h0 ? h0.at(0, c) : 0;
    for (int64_t t = 0; t <= r; ++t) {
      const Coefficients v =
          f.at(kStarts[t] || (t == 0 && !with_h0), x0.at(t, c), x1.at(t, c), x2.at(t, c), row.at(0, c));
      state = (kStarts[t] ? 0 : v.a * state) + v.b;
    }
    return state;
  }) < (sizeof(T) == 4 ? 4e-6 : 1e-13));
  const bool three = f.inputs == 3;
  const ScanBackward<T> d = {d_h.view(),
                             last.data(),
                             {d0.view(), d1.view(), three ? d2.view() : View<T>{}},
                             {add, add, three && !add},  // flags that differ
                             d_row.data(),
                             with_h0 ? d_h0.data() : nullptr,
                             add};
  scan(in, h.view(), &d);
  constexpr double kStep = 1e-5;
  const auto slope = [&](int which, int64_t t, int64_t c) {
    return (loss(c, which, t, kStep) - loss(c, which, t, -kStep)) / (2 * kStep);
  };
  const auto wrong = [&](const Rows<T>& got, int which, bool adds) {
    return got.error([&](int64_t t, int64_t c) { return slope(which, t, c) + (adds ? got.before(t, c) : 0); });
  };
  CHECK(wrong(d0, 0, add) < tolerance);
  CHECK(wrong(d1, 1, add) < tolerance);
  if (three) CHECK(wrong(d2, 2, !add) < tolerance);
  if (f.row) CHECK(wrong(d_row, 3, false) < tolerance);
  if (with_h0) CHECK(wrong(d_h0, 4, add) < tolerance);
}

}  // namespace

TEST_CASE("fused_scan kernel: equals the loop over tokens at all sizes and offsets, forward and backward") {
  for (const ScanForm& f : kScanForms)
    for_each_size(1, [&](int64_t cols, const Layout& at) {
      CAPTURE(f.name);
      CAPTURE(cols);
      check<float>(f, cols, at, cols % 2 == 0, cols % 3 == 0);
      check<double>(f, cols, at, cols % 2 == 1, cols % 3 == 1);
    });
}
