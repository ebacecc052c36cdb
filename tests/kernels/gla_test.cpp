#include <doctest/doctest.h>

#include <numeric>

#include "kernels/gla.h"
#include "kernels/rows.h"

using namespace effllm;
using test::for_each_isa;

namespace {

// How strongly states decay: kinds of numbers that a takes.
enum class Strength { mild, strong, zeros, mixed };

double decay_value(Strength s, double uniform, double normal) {
  switch (s) {
    case Strength::mild:
      return 1 - 0.2 * uniform;
    case Strength::strong:
      return std::exp(-5 - 60 * uniform);
    case Strength::zeros:
      return normal > 0.5 ? 0 : 1 - 0.2 * uniform;
    case Strength::mixed:
      return normal > 1 ? 0 : normal > 0 ? std::exp(-40 * uniform) : normal > -0.5 ? 1 : uniform;
  }
  return 0;
}

template <class T>
struct Rows {
  Rows(int64_t rows, int64_t cols, int64_t offset, uint64_t seed)
      : data(static_cast<size_t>(rows * (cols + 5) + offset)), view{data.data() + offset, rows, cols, cols + 5} {
    const RandomStream numbers(seed, "gla_test");
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<T>(numbers.normal(i));
  }
  // The same rows, last to first.
  View<const T> backwards() const { return {view.row(view.rows - 1), view.rows, view.cols, -view.stride}; }
  std::vector<T> data;
  View<T> view;
};

struct Case {
  int64_t steps, rows, columns;
  Decay decay;
  Strength strength = Strength::mixed;
  bool exclusive = false, add = false, backwards = false;
};

template <class T>
struct Problem {
  Problem(const Case& c, int64_t offset)
      : x1(c.steps, c.rows, offset, 1),
        x2(c.steps, c.rows, offset + 1, 2),
        x3(c.steps, c.columns, offset, 3),
        a(c.steps,
          c.decay == Decay::key     ? c.rows
          : c.decay == Decay::value ? c.columns
                                    : 1,
          0, 4),
        y(c.steps, c.columns, offset + 2, 5),
        state(1, c.rows * c.columns, offset, 6) {
    const RandomStream numbers(9, "decays");
    for (int64_t t = 0; t < c.steps; ++t)
      for (int64_t i = 0; i < a.view.cols; ++i) {
        const auto n = static_cast<uint64_t>(t * a.view.cols + i);
        a.view.row(t)[i] = static_cast<T>(decay_value(c.strength, numbers.uniform(2 * n), numbers.normal(2 * n + 1)));
      }
    pass = {c.steps, x1.view, x2.view, x3.view, a.view, c.decay, c.exclusive, y.view, c.add, state.view.data};
    if (!c.backwards) return;
    pass.x1 = x1.backwards();
    pass.x2 = x2.backwards();
    pass.x3 = x3.backwards();
    pass.a = a.backwards();
    pass.y = {y.view.row(c.steps - 1), c.steps, c.columns, -y.view.stride};
  }
  Rows<T> x1, x2, x3, a, y, state;
  GlaPass<T> pass;
};

// Runs the kernel and the loop over tokens; returns the largest difference over the largest value.
template <class T>
double error_of(const Case& c, int64_t offset) {
  Problem<T> problem(c, offset);
  const GlaPass<T>& p = problem.pass;
  const Rows<T>& y = problem.y;
  const T* state = p.state;
  std::vector<double> m(state, state + c.rows * c.columns);
  const std::vector<T> y_before = y.data;
  kernel::gla<T>(p);

  double worst = 0, largest = 1;
  const auto compare = [&](double got, double want) {
    const double d = std::abs(got - want);
    worst = std::isfinite(got) ? std::max(worst, d) : 1e300;
    largest = std::max(largest, std::abs(want));
  };
  for (int64_t t = 0; t < c.steps; ++t)
    for (int64_t j = 0; j < c.columns; ++j) {
      double sum = 0;
      for (int64_t i = 0; i < c.rows; ++i) {
        double& s = m[static_cast<size_t>(i * c.columns + j)];
        const auto q = static_cast<double>(p.x1.row(t)[i]);
        if (c.exclusive) sum += q * s;
        if (c.decay != Decay::none)
          s *= static_cast<double>(p.a.row(t)[c.decay == Decay::key ? i : c.decay == Decay::value ? j : 0]);
        s += static_cast<double>(p.x2.row(t)[i]) * static_cast<double>(p.x3.row(t)[j]);
        if (!c.exclusive) sum += q * s;
      }
      if (c.add) sum += static_cast<double>(y_before[static_cast<size_t>(p.y.row(t) + j - y.data.data())]);
      compare(static_cast<double>(p.y.row(t)[j]), sum);
    }
  for (size_t i = 0; i < m.size(); ++i) compare(static_cast<double>(state[i]), m[i]);
  // What lies between rows belongs to others.
  for (int64_t t = 0; t < c.steps; ++t)
    for (int64_t j = c.columns; j < c.columns + 5 && t + 1 < c.steps; ++j)
      if (y.view.row(t)[j] != y_before[static_cast<size_t>(y.view.row(t) + j - y.data.data())]) worst = 1e300;
  return worst / largest;
}

// How many of the outputs up to a token, of all `tokens`, change a bit when what comes after it changes or is cut off.
template <class T>
int64_t changed_by_future(const Case& c, const std::vector<int64_t>& tokens) {
  const Problem<T> start(c, 1);
  Problem<T> now(c, 1), other(c, 1);
  kernel::gla<T>(now.pass);
  int64_t changed = 0;
  for (int64_t t : tokens)
    for (double factor : {1e-30, 0.0, 0.5, 1.0}) {
      for (auto rows :
           {&Problem<T>::x1, &Problem<T>::x2, &Problem<T>::x3, &Problem<T>::a, &Problem<T>::y, &Problem<T>::state})
        std::copy((start.*rows).data.begin(), (start.*rows).data.end(), (other.*rows).data.begin());
      for (int64_t u = t + 1; u < c.steps; ++u) {
        for (const View<T>& x : {other.x1.view, other.x2.view, other.x3.view})
          for (int64_t i = 0; i < x.cols; ++i) x.row(u)[i] *= -1000;
        // Every other number alone: blocks of the state then differ in where they cut.
        for (int64_t i = u % 2; i < other.a.view.cols; i += 2) other.a.view.row(u)[i] *= static_cast<T>(factor);
      }
      other.pass.steps = factor == 1.0 ? t + 1 : c.steps;
      kernel::gla<T>(other.pass);
      for (int64_t u = 0; u <= t; ++u)
        changed += std::memcmp(now.y.view.row(u), other.y.view.row(u), sizeof(T) * static_cast<size_t>(c.columns)) != 0;
    }
  return changed;
}

constexpr Decay kDecays[] = {Decay::none, Decay::scalar, Decay::key, Decay::value};

}  // namespace

TEST_CASE("gla kernel: equals the loop over tokens for all numbers of columns, rows and steps") {
  for_each_isa([&] {
    for (Decay decay : kDecays)
      for (bool exclusive : {false, true}) {
        double f32 = 0, f64 = 0;
        for (int64_t columns = 0; columns <= 35; ++columns) {
          const Case c{1 + columns % 10, 1 + columns % 7, columns,          decay,
                       Strength::mixed,  exclusive,       columns % 2 == 0, columns % 3 == 0};
          f32 = std::max(f32, error_of<float>(c, columns % 4));
          f64 = std::max(f64, error_of<double>(c, columns % 4));
        }
        CAPTURE(isa());
        CAPTURE(static_cast<int>(decay));
        CAPTURE(exclusive);
        CHECK(f32 < 3e-6);
        CHECK(f64 < 1e-14);
      }
  });
}

TEST_CASE("gla kernel: states of several blocks, long and short runs, in place and packed") {
  const int64_t sizes[][2] = {{32, 32}, {64, 64}, {64, 128}, {65, 63}, {130, 17}, {100, 129}};
  for_each_isa([&] {
    for (const auto& size : sizes)
      for (Decay decay : kDecays)
        for (int64_t steps : {1, 3, 4, 15, 16, 67, 130}) {
          const Case c{
              steps,          size[0],        size[1],       decay, steps % 2 ? Strength::mild : Strength::mixed,
              steps % 3 == 0, steps % 2 == 0, steps % 5 == 0};
          CAPTURE(isa());
          CAPTURE(size[0]);
          CAPTURE(size[1]);
          CAPTURE(steps);
          CAPTURE(static_cast<int>(decay));
          CHECK(error_of<float>(c, 0) < 3e-6);
          CHECK(error_of<double>(c, 1) < 1e-13);
        }
  });
}

TEST_CASE("gla kernel: strong decays and zeros are exact, forwards and backwards in time") {
  for_each_isa([&] {
    for (Strength strength : {Strength::mild, Strength::strong, Strength::zeros, Strength::mixed})
      for (Decay decay : {Decay::scalar, Decay::key, Decay::value})
        for (int flags = 0; flags < 8; ++flags) {
          const Case c{61, 33, 40, decay, strength, (flags & 1) != 0, (flags & 2) != 0, (flags & 4) != 0};
          CAPTURE(isa());
          CAPTURE(static_cast<int>(strength));
          CAPTURE(static_cast<int>(decay));
          CAPTURE(flags);
          CHECK(error_of<float>(c, 3) < 3e-6);
          CHECK(error_of<double>(c, 3) < 1e-14);
        }
  });
}

TEST_CASE("gla kernel: no bit of an output depends on later tokens, nor on how many there are") {
  const int64_t sizes[][2] = {{5, 7}, {33, 40}, {70, 130}};
  const std::vector<int64_t> long_run = {0, 1, 2, 3, 4, 5, 61, 62, 63, 64, 65};
  for_each_isa([&] {
    for (const auto& size : sizes)
      for (Decay decay : kDecays)
        for (int64_t steps : {2, 3, 4, 5, 7, 67}) {
          std::vector<int64_t> tokens(static_cast<size_t>(steps - 1));
          std::iota(tokens.begin(), tokens.end(), int64_t{0});
          for (Strength strength : {Strength::mild, Strength::mixed})
            for (bool exclusive : {false, true}) {
              const Case c{steps, size[0], size[1], decay, strength, exclusive, steps % 2 == 0};
              INFO(isa(), " ", size[0], "x", size[1], ", ", steps, " steps, decay ", static_cast<int>(decay),
                   ", strength ", static_cast<int>(strength), exclusive ? ", exclusive" : "");
              CHECK(changed_by_future<float>(c, steps > 7 ? long_run : tokens) == 0);
              CHECK(changed_by_future<double>(c, steps > 7 ? long_run : tokens) == 0);
            }
        }
  });
}

TEST_CASE("gla kernel: without outputs the state moves on all the same, and no step changes nothing") {
  for_each_isa([&] {
    Rows<double> x1(9, 5, 0, 1), x2(9, 5, 0, 2), x3(9, 7, 0, 3), y(9, 7, 0, 4);
    std::vector<double> one(35, 1.0), two = one;
    GlaPass<double> p{9, x1.view, x2.view, x3.view, {}, Decay::none, false, y.view, false, one.data()};
    kernel::gla<double>(p);
    p.y = {};
    p.state = two.data();
    kernel::gla<double>(p);
    CHECK(one == two);
    p.steps = 0;
    kernel::gla<double>(p);
    CHECK(one == two);
  });
}
