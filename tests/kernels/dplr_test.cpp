#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <string>
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
  Rows(int64_t rows, int64_t cols, uint64_t seed, double scale = 1)
      : data(static_cast<size_t>(rows * (cols + 3) + 1)), view{data.data() + 1, rows, cols, cols + 3} {
    const RandomStream numbers(seed, "dplr_test");
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<T>(scale * numbers.normal(i));
  }
  View<T> view_of(bool reverse) const {
    return reverse ? View<T>{view.row(view.rows - 1), view.rows, view.cols, -view.stride} : view;
  }
  double at(int64_t t, int64_t i, bool reverse) const { return static_cast<double>(view_of(reverse).row(t)[i]); }
  std::vector<T> data;
  View<T> view;
};

// Decays in [0, 1], some of them 0 or 1.
template <class T>
Rows<T> decays(int64_t rows, int64_t cols) {
  Rows<T> d(rows, cols, 9);
  for (T& x : d.data) x = x > T(1.5) ? T(0) : x < T(-1) ? T(1) : static_cast<T>(std::exp(-std::abs(x)));
  return d;
}

struct Worst {
  double difference = 0, largest = 1;
  void compare(double got, double want) {
    difference = std::isfinite(got) ? std::max(difference, std::abs(got - want)) : 1e300;
    largest = std::max(largest, std::abs(want));
  }
  double relative() const { return difference / largest; }
};

int64_t width_of(Decay decay, int64_t wide) { return decay == Decay::scalar || decay == Decay::none ? 1 : wide; }

// first: 0 nothing, 1 given, 2 read from the state.
template <class T>
double error_of(int64_t steps, int64_t rows, int64_t columns, Decay decay, bool back, int first) {
  const double length = 0.8 / std::sqrt(static_cast<double>(rows));
  const Rows<T> q(steps, rows, 1), k(steps, rows, 2), v(steps, columns, 3), b(steps, rows, 4, length),
      next(steps, rows, 5, length), d = decays<T>(steps, width_of(decay, rows)), c0(1, columns, 6);
  Rows<T> o(steps, columns, 7), r(steps, columns, 8), state(1, rows * columns, 10), r_first(1, columns, 11);
  std::vector<T> scratch(static_cast<size_t>(64 * rows));
  std::vector<double> m(state.view.data, state.view.data + rows * columns), c(static_cast<size_t>(columns));
  for (int64_t j = 0; j < columns && first > 0; ++j) {
    double& x = c[static_cast<size_t>(j)];
    if (first == 1) x = c0.at(0, j, false);
    for (int64_t i = 0; i < rows && first == 2; ++i)
      x += next.at(0, i, false) * m[static_cast<size_t>(i * columns + j)];
  }
  const std::vector<double> c_before = c;
  kernels<T>().dplr({steps, q.view_of(back), k.view_of(back), v.view_of(back), b.view_of(back),
                     next.view_of(back).part(0, steps - 1), decay == Decay::none ? View<const T>{} : d.view_of(back),
                     decay, first == 1 ? c0.view.data : nullptr, first == 2 ? next.view.data : nullptr, o.view_of(back),
                     r.view_of(back), r_first.view.data, state.view.data, scratch.data()});
  Worst worst;
  for (int64_t t = 0; t < steps; ++t)
    for (int64_t j = 0; j < columns; ++j) {
      double read = 0, held = 0;
      for (int64_t i = 0; i < rows; ++i) {
        double& s = m[static_cast<size_t>(i * columns + j)];
        if (decay != Decay::none) s *= d.at(t, decay == Decay::key ? i : 0, back);
        s += b.at(t, i, back) * c[static_cast<size_t>(j)] + k.at(t, i, back) * v.at(t, j, back);
        read += q.at(t, i, back) * s;
        held += next.at(t, i, back) * s;
      }
      c[static_cast<size_t>(j)] = held;
      worst.compare(o.at(t, j, back), read);
      if (t + 1 < steps) worst.compare(r.at(t, j, back), held);
    }
  for (size_t i = 0; i < m.size(); ++i) worst.compare(static_cast<double>(state.view.data[i]), m[i]);
  for (int64_t j = 0; j < columns && first == 2; ++j)
    worst.compare(r_first.at(0, j, false), c_before[static_cast<size_t>(j)]);
  return worst.relative();
}

template <class T>
double error_of_keys(int64_t steps, int64_t rows, int64_t columns, Decay decay, bool back, bool before) {
  const Rows<T> x(steps, rows, 1, 0.3), v(steps, rows, 2), read(steps, rows, 3), peek(steps, rows, 4),
      b(steps, columns, 5), k(steps, columns, 6), d = decays<T>(steps, width_of(decay, columns));
  Rows<T> o(steps, columns, 7), p(steps, columns, 8), state(1, rows * columns, 10);
  std::vector<T> scratch(static_cast<size_t>(64 * rows));
  std::vector<double> m(state.view.data, state.view.data + rows * columns);
  kernels<T>().dplr_keys({steps, x.view_of(back), v.view_of(back), read.view_of(back), peek.view_of(back),
                          b.view_of(back), k.view_of(back), d.view_of(back), decay, before, o.view_of(back),
                          p.view_of(back), state.view.data, scratch.data()});
  Worst worst;
  for (int64_t t = 0; t < steps; ++t)
    for (int64_t j = 0; j < columns; ++j) {
      double after = 0, seen = 0;
      for (int64_t i = 0; i < rows; ++i) {
        double& s = m[static_cast<size_t>(i * columns + j)];
        if (before) seen += peek.at(t, i, back) * s;
        if (decay != Decay::none) s *= d.at(t, decay == Decay::value ? j : 0, back);
        s += x.at(t, i, back) * b.at(t, j, back) + v.at(t, i, back) * k.at(t, j, back);
        if (!before) seen += peek.at(t, i, back) * s;
        after += read.at(t, i, back) * s;
      }
      worst.compare(o.at(t, j, back), after);
      worst.compare(p.at(t, j, back), seen);
    }
  for (size_t i = 0; i < m.size(); ++i) worst.compare(static_cast<double>(state.view.data[i]), m[i]);
  return worst.relative();
}

template <class T>
void check_all(int64_t steps, int64_t rows, int64_t columns, double bound) {
  for (bool back : {false, true}) {
    for (Decay decay : {Decay::none, Decay::scalar, Decay::key})
      for (int first : {0, 1, 2}) CHECK(error_of<T>(steps, rows, columns, decay, back, first) < bound);
    for (Decay decay : {Decay::none, Decay::scalar, Decay::value})
      for (bool before : {false, true}) CHECK(error_of_keys<T>(steps, rows, columns, decay, back, before) < bound);
  }
}

}  // namespace

TEST_CASE("dplr kernels: equal the loops over tokens for all numbers of columns, rows and steps") {
  const EachIsa restore;
  for (std::string_view name : isas()) {
    set_isa(name);
    for (int64_t columns = 1; columns <= 35; ++columns) {
      const int64_t rows = 1 + columns % 10, steps = 1 + columns % 7;
      INFO(name, " ", rows, "x", columns, ", ", steps, " steps");
      check_all<float>(steps, rows, columns, 4e-6);
      check_all<double>(steps, rows, columns, 1e-14);
    }
    const int64_t sizes[][2] = {{32, 32}, {65, 63}, {100, 129}};
    for (const auto& size : sizes)
      for (int64_t steps : {15, 16, 40}) {
        INFO(name, " ", size[0], "x", size[1], ", ", steps, " steps");
        check_all<float>(steps, size[0], size[1], 2e-5);
        check_all<double>(steps, size[0], size[1], 1e-13);
      }
  }
}
