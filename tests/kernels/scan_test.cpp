#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "base/random.h"
#include "kernels/table.h"

using namespace effllm;

namespace {

// Restores the instruction set.
struct EachIsa {
  std::string_view first = isa();
  ~EachIsa() { set_isa(first); }
};

// Random [rows, cols] with padding and an offset of its own, so that rows are not aligned.
template <class T>
struct Rows {
  Rows(int64_t rows, int64_t cols, int64_t offset, uint64_t seed)
      : data(static_cast<size_t>(rows * (cols + 3) + offset + 1)), view{data.data() + offset, rows, cols, cols + 3} {
    const RandomStream numbers(seed, "scan_test");
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<T>(numbers.normal(i));
  }
  std::vector<T> data;
  View<T> view;
};

template <class T>
void check_scan(int64_t tokens, int64_t cols, int64_t offset, bool with_h0, bool with_starts) {
  Rows<T> a(tokens, cols, offset, 1), b(tokens, cols, offset + 1, 2), h0(1, cols, offset, 3), h(tokens, cols, 1, 4);
  Rows<T> d_h(tokens, cols, offset, 5), d_last(1, cols, 0, 6), da(tokens, cols, 2, 7), db(tokens, cols, 1, 8),
      d_h0(1, cols, offset, 9);
  std::vector<uint8_t> starts(static_cast<size_t>(tokens), 0);
  if (with_starts)
    for (int64_t t = 0; t < tokens; t += 3) starts[static_cast<size_t>(t)] = 1;
  const uint8_t* s = with_starts ? starts.data() : nullptr;
  const T* first = with_h0 ? h0.view.data : nullptr;
  const double tolerance = sizeof(T) == 4 ? 1e-4 : 1e-12;
  const auto near = [&](T x, double y) {
    return std::abs(static_cast<double>(x) - y) <= tolerance * (1 + std::abs(y));
  };

  kernels<T>().scan(a.view, b.view, first, s, h.view);
  std::vector<double> states(static_cast<size_t>(tokens * cols));
  bool good = true;
  for (int64_t c = 0; c < cols; ++c) {
    double state = first ? static_cast<double>(first[c]) : 0;
    for (int64_t t = 0; t < tokens; ++t) {
      if (s && s[t]) state = 0;
      state = static_cast<double>(a.view.row(t)[c]) * state + static_cast<double>(b.view.row(t)[c]);
      states[static_cast<size_t>(t * cols + c)] = state;
      good &= near(h.view.row(t)[c], state);
    }
  }
  CHECK(good);

  const Rows<T> da_before = da, db_before = db, d_h0_before = d_h0;
  const int64_t pad_check = offset;
  for (bool add : {true, false}) {
    kernels<T>().scan_backward(a.view, h.view, first, s, d_h.view, d_last.view.data, da.view, add, db.view, add,
                               d_h0.view.data, add);
    bool exact = true;
    for (int64_t c = 0; c < cols; ++c) {
      double g = static_cast<double>(d_last.view.data[c]);
      for (int64_t t = tokens - 1; t >= 0; --t) {
        g += static_cast<double>(d_h.view.row(t)[c]);
        const double before = s && s[t] ? 0
                              : t > 0   ? states[static_cast<size_t>((t - 1) * cols + c)]
                              : first   ? static_cast<double>(first[c])
                                        : 0;
        const auto old = [&](const Rows<T>& x, int64_t at) {
          return add ? static_cast<double>(x.data[static_cast<size_t>(at)]) : 0.0;
        };
        exact &= near(da.view.row(t)[c], g * before + old(da_before, 2 + t * (cols + 3) + c));
        exact &= near(db.view.row(t)[c], g + old(db_before, 1 + t * (cols + 3) + c));
        g = s && s[t] ? 0 : g * static_cast<double>(a.view.row(t)[c]);
        if (t == 0) exact &= near(d_h0.view.data[c], g + old(d_h0_before, pad_check + c));
      }
    }
    CHECK(exact);
  }
  // Columns beyond the view stay as they were.
  if (tokens > 1) CHECK(da.view.row(0)[cols] == da_before.data[static_cast<size_t>(2 + cols)]);
}

}  // namespace

TEST_CASE("scan kernel: equals the loop over tokens at all sizes and offsets, forward and backward") {
  const EachIsa restore;
  for (std::string_view name : isas()) {
    set_isa(name);
    CAPTURE(name);
    for (int64_t cols = 0; cols <= 33; ++cols)
      for (int64_t tokens : {1, 2, 7}) {
        check_scan<float>(tokens, cols, cols % 4, cols % 2 == 0, cols % 3 == 0);
        check_scan<double>(tokens, cols, cols % 4, cols % 2 == 1, cols % 3 == 1);
      }
    check_scan<double>(5, 1030, 1, true, true);  // several blocks of columns
  }
}

TEST_CASE("scan kernel: gradients that are not wanted or not there may be null") {
  const EachIsa restore;
  for (std::string_view name : isas()) {
    set_isa(name);
    const double a[] = {0.5, 0.25}, h[] = {1, 2}, h0[] = {4}, last[] = {1};
    double db[2], d_h0[1];
    kernels<double>().scan_backward({a, 2, 1, 1}, {h, 2, 1, 1}, h0, nullptr, {}, last, {}, false, {db, 2, 1, 1}, false,
                                    d_h0, false);
    CHECK(db[1] == 1);
    CHECK(db[0] == 0.25);
    CHECK(d_h0[0] == 0.125);
    double da[2];
    kernels<double>().scan_backward({a, 2, 1, 1}, {h, 2, 1, 1}, h0, nullptr, {h, 2, 1, 1}, nullptr, {da, 2, 1, 1},
                                    false, {}, false, nullptr, false);
    CHECK(da[1] == 2 * 1);
    CHECK(da[0] == (1 + 0.25 * 2) * 4);
  }
}
