#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/table.h"

using namespace effllm;

namespace {

struct EachIsa {
  std::string_view first = isa();
  ~EachIsa() { set_isa(first); }
};

template <class T>
struct Rows {
  Rows(int64_t rows, int64_t cols, int64_t offset, uint64_t seed)
      : data(static_cast<size_t>(rows * (cols + 3) + offset + 1)), view{data.data() + offset, rows, cols, cols + 3} {
    const RandomStream numbers(seed, "short_conv_test");
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<T>(numbers.normal(i));
  }
  Rows(const Rows& o)
      : data(o.data), view{data.data() + (o.view.data - o.data.data()), o.view.rows, o.view.cols, o.view.stride} {}
  std::vector<T> data;
  View<T> view;
};

// True where token t sees token s <= t (s < 0: history): no document starts in (s, t].
bool sees(const uint8_t* starts, int64_t t, int64_t s) {
  for (int64_t i = t; starts && i > s && i >= 0; --i)
    if (starts[i]) return false;
  return true;
}

template <class T>
void check(int64_t tokens, int64_t cols, int64_t width, int64_t offset, bool with_history, bool with_starts) {
  Rows<T> x(tokens, cols, offset, 1), w(width, cols, 0, 2), history(width - 1, cols, offset, 3), y(tokens, cols, 1, 4);
  Rows<T> dy(tokens, cols, offset, 5), dx(tokens, cols, 1, 6), dw(width, cols, offset, 7), dh(width - 1, cols, 2, 8);
  const std::vector<uint8_t> flags = {0, 0, 1, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0};
  const uint8_t* starts = with_starts ? flags.data() : nullptr;
  const View<const T> past = with_history ? View<const T>(history.view) : View<const T>{};
  const double tolerance = sizeof(T) == 4 ? 1e-4 : 1e-12;
  const auto source = [&](int64_t s, int64_t c) {
    if (s >= 0) return static_cast<double>(x.view.row(s)[c]);
    return with_history ? static_cast<double>(history.view.row(width - 1 + s)[c]) : 0.0;
  };
  kernels<T>().short_conv(x.view, w.view, past, starts, y.view);
  bool good = true;
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t c = 0; c < cols; ++c) {
      double sum = 0;
      for (int64_t j = 0; j < width; ++j)
        if (const int64_t s = t - (width - 1) + j; sees(starts, t, s))
          sum += static_cast<double>(w.view.row(j)[c]) * source(s, c);
      good &= std::abs(static_cast<double>(y.view.row(t)[c]) - sum) <= tolerance;
    }
  CHECK(good);

  for (bool add : {true, false}) {
    const Rows<T> dx0 = dx, dw0 = dw, dh0 = dh;
    kernels<T>().short_conv_backward(x.view, w.view, past, starts, dy.view, dx.view, add, dw.view, add, dh.view, add);
    bool exact = true;
    for (int64_t c = 0; c < cols; ++c) {
      std::vector<double> gx(static_cast<size_t>(tokens + width - 1), 0.0), gw(static_cast<size_t>(width), 0.0);
      for (int64_t t = 0; t < tokens; ++t)
        for (int64_t j = 0; j < width; ++j)
          if (const int64_t s = t - (width - 1) + j; sees(starts, t, s)) {
            const auto g = static_cast<double>(dy.view.row(t)[c]);
            gx[static_cast<size_t>(s + width - 1)] += g * static_cast<double>(w.view.row(j)[c]);
            gw[static_cast<size_t>(j)] += g * source(s, c);
          }
      const auto near = [&](const Rows<T>& now, const Rows<T>& before, int64_t r, double want) {
        const double old = add ? static_cast<double>(before.view.row(r)[c]) : 0;
        return std::abs(static_cast<double>(now.view.row(r)[c]) - old - want) <= tolerance;
      };
      for (int64_t s = 0; s < tokens; ++s) exact &= near(dx, dx0, s, gx[static_cast<size_t>(s + width - 1)]);
      for (int64_t j = 0; j < width; ++j) exact &= near(dw, dw0, j, gw[static_cast<size_t>(j)]);
      for (int64_t r = 0; r < width - 1; ++r) exact &= near(dh, dh0, r, gx[static_cast<size_t>(r)]);
    }
    CHECK(exact);
    CHECK(y.view.row(0)[cols] == Rows<T>(tokens, cols, 1, 4).view.row(0)[cols]);  // beyond the last column
  }
}

}  // namespace

TEST_CASE("short_conv kernel: equals the sum over taps at all sizes and offsets, forward and backward") {
  const EachIsa restore;
  for (std::string_view name : isas()) {
    set_isa(name);
    CAPTURE(name);
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
  }
}
