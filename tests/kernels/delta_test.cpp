#include <doctest/doctest.h>

#include "kernels/delta.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

enum class Decays { none, mild, strong, mixed };

constexpr Layout kAt{1, 3};

// A pass over `steps` tokens, in time or against it, with numbers that keep the state near one.
template <class T>
struct Problem {
  Problem(int64_t n, int64_t rows, int64_t columns, Decays kind, bool reverse = false)
      : steps(n),
        q(n, rows, kAt, 1),
        k(n, rows, kAt, 2, 1 / std::sqrt(static_cast<double>(rows))),
        v(n, columns, kAt, 3),
        a(n, 1, kAt, 4),
        beta(n, 1, kAt, 5),
        more(n, columns, kAt, 6),
        o(n, columns, kAt, 7),
        e(n, columns, kAt, 8),
        u(n, columns, kAt, 9),
        state(1, rows * columns, kAt, 10),
        back(reverse),
        scratch(static_cast<size_t>(5 * n + 64 * std::max(rows, columns))) {
    for (int64_t t = 0; t < n; ++t) {
      const double x = std::abs(static_cast<double>(*a.view().row(t)));
      double decay = 1;
      if (kind == Decays::mild) decay = 1 - 0.2 * std::min(1.0, x);
      if (kind == Decays::strong) decay = std::exp(-5 - 20 * x);
      if (kind == Decays::mixed)
        decay = t % 5 == 3 ? 0 : t % 5 == 1 ? std::exp(-40 * x) : t % 5 == 2 ? 1 : std::exp(-x);
      *a.view().row(t) = static_cast<T>(decay);
      *beta.view().row(t) = static_cast<T>(1 / (1 + x));
    }
    if (kind != Decays::none) a_view = a.in_order(back);
  }
  DeltaPass<T> forward() {
    return {steps,
            q.in_order(back),
            k.in_order(back),
            v.in_order(back),
            a_view,
            beta.in_order(back),
            o.in_order(back),
            e.in_order(back),
            state.view().data,
            scratch.data()};
  }
  DeltaValuesPass<T> values() {
    return {steps,
            q.in_order(back),
            k.in_order(back),
            v.in_order(back),
            more.in_order(back),
            a_view,
            beta.in_order(back),
            o.in_order(back),
            e.in_order(back),
            u.in_order(back),
            state.view().data,
            scratch.data()};
  }
  double decay(int64_t t) const { return a_view ? static_cast<double>(*a_view.row(t)) : 1; }
  int64_t steps;
  Rows<T> q, k, v, a, beta, more, o, e, u, state;
  bool back;
  std::vector<T> scratch;
  View<const T> a_view{};
};

struct Worst {
  double difference = 0, largest = 1;
  void compare(double got, double want) {
    difference = std::isfinite(got) ? std::max(difference, std::abs(got - want)) : 1e300;
    largest = std::max(largest, std::abs(want));
  }
  double relative() const { return difference / largest; }
};

template <class T>
std::vector<double> doubles(const T* x, int64_t n) {
  return {x, x + n};
}

template <class T>
double error_of_forward(Problem<T> x) {
  const DeltaPass<T> p = x.forward();
  const int64_t rows = p.q.cols, columns = p.v.cols;
  std::vector<double> m = doubles(p.state, rows * columns);
  kernel::delta<T>(p);
  Worst worst;
  for (int64_t t = 0; t < p.steps; ++t)
    for (int64_t j = 0; j < columns; ++j) {
      double error = static_cast<double>(p.v.row(t)[j]), read = 0;
      for (int64_t i = 0; i < rows; ++i) {
        double& s = m[static_cast<size_t>(i * columns + j)];
        s *= x.decay(t);
        error -= static_cast<double>(p.k.row(t)[i]) * s;
      }
      for (int64_t i = 0; i < rows; ++i) {
        double& s = m[static_cast<size_t>(i * columns + j)];
        s += static_cast<double>(*p.beta.row(t)) * static_cast<double>(p.k.row(t)[i]) * error;
        read += static_cast<double>(p.q.row(t)[i]) * s;
      }
      worst.compare(static_cast<double>(p.e.row(t)[j]), error);
      worst.compare(static_cast<double>(p.o.row(t)[j]), read);
    }
  for (size_t i = 0; i < m.size(); ++i) worst.compare(static_cast<double>(p.state[i]), m[i]);
  return worst.relative();
}

template <class T>
double error_of_values(Problem<T> problem) {
  const DeltaValuesPass<T> p = problem.values();
  const int64_t rows = p.q.cols, columns = p.d_o.cols;
  std::vector<double> m = doubles(p.state, rows * columns);
  kernel::delta_values<T>(p);
  Worst worst;
  for (int64_t t = 0; t < p.steps; ++t)
    for (int64_t j = 0; j < columns; ++j) {
      double x = 0;
      for (int64_t i = 0; i < rows; ++i) {
        double& s = m[static_cast<size_t>(i * columns + j)];
        s = problem.decay(t) * s + static_cast<double>(p.q.row(t)[i]) * static_cast<double>(p.d_o.row(t)[j]);
        x += static_cast<double>(p.k.row(t)[i]) * s;
      }
      const auto beta = static_cast<double>(*p.beta.row(t));
      for (int64_t i = 0; i < rows; ++i)
        m[static_cast<size_t>(i * columns + j)] -= static_cast<double>(p.k.row(t)[i]) * beta * x;
      worst.compare(static_cast<double>(p.x.row(t)[j]), x);
      worst.compare(static_cast<double>(p.y.row(t)[j]), beta * x);
      worst.compare(static_cast<double>(p.u.row(t)[j]), beta * static_cast<double>(p.e.row(t)[j]));
    }
  for (size_t i = 0; i < m.size(); ++i) worst.compare(static_cast<double>(p.state[i]), m[i]);
  return worst.relative();
}

// Rows are v, more, o here; columns k, q.
template <class T>
double error_of_keys(Problem<T> problem) {
  Problem<T>& x = problem;
  const bool back = x.back;
  const int64_t rows = x.v.view().cols, columns = x.k.view().cols;
  Rows<T> read(x.steps, columns, kAt, 20), decayed(x.steps, columns, kAt, 21), y(x.steps, rows, kAt, 22, 0.3);
  const DeltaKeysPass<T> p{x.steps,
                           x.v.in_order(back),
                           y.in_order(back),
                           x.more.in_order(back),
                           back ? View<const T>(x.q.in_order(back)) : View<const T>{},
                           x.k.in_order(back),
                           x.a_view,
                           read.in_order(back),
                           back ? View<T>{} : decayed.in_order(back),
                           x.state.view().data,
                           x.scratch.data()};
  std::vector<double> m = doubles(p.state, rows * columns);
  kernel::delta_keys<T>(p);
  Worst worst;
  const auto number = [](const View<const T>& view, int64_t t, int64_t i) {
    return static_cast<double>(view.row(t)[i]);
  };
  for (int64_t t = 0; t < p.steps; ++t)
    for (int64_t j = 0; j < columns; ++j) {
      double sum = 0, before = 0;
      for (int64_t i = 0; i < rows; ++i) {
        double& s = m[static_cast<size_t>(i * columns + j)];
        s *= x.decay(t);
        if (back) {
          s += number(p.d_o, t, i) * number(p.q, t, j);
          sum += number(p.u, t, i) * s;
          s -= number(p.y, t, i) * number(p.k, t, j);
        } else {
          before += number(p.y, t, i) * s;
          s += number(p.u, t, i) * number(p.k, t, j);
          sum += number(p.d_o, t, i) * s;
        }
      }
      worst.compare(number(p.read, t, j), sum);
      if (!back) worst.compare(number(p.decayed, t, j), before);
    }
  for (size_t i = 0; i < m.size(); ++i) worst.compare(static_cast<double>(p.state[i]), m[i]);
  return worst.relative();
}

constexpr Decays kKinds[] = {Decays::none, Decays::mild, Decays::strong, Decays::mixed};

template <class T>
void check_all(int64_t steps, int64_t rows, int64_t columns, Decays kind, double bound) {
  for (bool back : {false, true}) {
    CAPTURE(back);
    CHECK(error_of_forward(Problem<T>(steps, rows, columns, kind, back)) < bound);
    CHECK(error_of_values(Problem<T>(steps, rows, columns, kind, back)) < bound);
    CHECK(error_of_keys(Problem<T>(steps, rows, columns, kind, back)) < bound);
  }
}

}  // namespace

TEST_CASE("delta kernels: equal the loops over tokens for all numbers of columns, rows and steps") {
  for_each_isa([&] {
    for (Decays kind : kKinds)
      for (int64_t columns = 1; columns <= 35; ++columns) {
        const int64_t rows = 1 + columns % 10, steps = 1 + columns % 7;
        INFO(isa(), " ", rows, "x", columns, ", ", steps, " steps, decays ", static_cast<int>(kind));
        check_all<float>(steps, rows, columns, kind, 4e-6);
        check_all<double>(steps, rows, columns, kind, 1e-14);
      }
  });
}

TEST_CASE("delta kernels: states of several panels, long and short runs, in place and packed") {
  const int64_t sizes[][2] = {{32, 32}, {64, 128}, {65, 63}, {130, 17}, {100, 129}};
  for_each_isa([&] {
    for (const auto& size : sizes)
      for (Decays kind : kKinds)
        for (int64_t steps : {1, 2, 15, 16, 67, 130}) {
          INFO(isa(), " ", size[0], "x", size[1], ", ", steps, " steps, decays ", static_cast<int>(kind));
          check_all<float>(steps, size[0], size[1], kind, 2e-5);
          check_all<double>(steps, size[0], size[1], kind, 1e-13);
        }
  });
}

TEST_CASE("delta kernel: no bit of an output depends on later tokens, nor on how many there are") {
  const int64_t sizes[][2] = {{5, 7}, {33, 40}, {70, 130}};
  for_each_isa([&] {
    for (const auto& size : sizes)
      for (Decays kind : kKinds) {
        constexpr int64_t kSteps = 21;
        Problem<float> whole(kSteps, size[0], size[1], kind);
        kernel::delta<float>(whole.forward());
        int64_t changed = 0;
        for (int64_t t = 0; t + 1 < kSteps; ++t)
          for (double factor : {1e-30, 0.0, 0.5, 1.0}) {
            Problem<float> other(kSteps, size[0], size[1], kind);
            for (int64_t s = t + 1; s < kSteps; ++s) {
              for (const View<float>& x : {other.q.view(), other.k.view(), other.v.view(), other.beta.view()})
                for (int64_t i = 0; i < x.cols; ++i) x.row(s)[i] *= -1000;
              *other.a.view().row(s) *= static_cast<float>(factor);
            }
            DeltaPass<float> p = other.forward();
            if (factor == 1.0) p.steps = t + 1;
            kernel::delta<float>(p);
            for (int64_t s = 0; s <= t; ++s)
              changed += std::memcmp(whole.o.view().row(s), other.o.view().row(s),
                                     sizeof(float) * static_cast<size_t>(size[1])) != 0;
          }
        INFO(isa(), " ", size[0], "x", size[1], ", decays ", static_cast<int>(kind));
        CHECK(changed == 0);
      }
  });
}
