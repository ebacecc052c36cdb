#include <doctest/doctest.h>

#include <numeric>

#include "kernels/everywhere.h"
#include "kernels/gla.h"

using namespace effllm;
using namespace effllm::test;

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

struct Case {
  int64_t steps, rows, columns;
  Decay decay;
  Strength strength = Strength::mixed;
  bool exclusive = false, backwards = false;
};

template <class T>
struct Problem {
  Problem(const Case& c, Layout at, bool add = false)
      : x1(c.steps, c.rows, at, 1),
        x2(c.steps, c.rows, {at.pad, at.offset}, 2),
        x3(c.steps, c.columns, at, 3),
        a(c.steps,
          c.decay == Decay::key     ? c.rows
          : c.decay == Decay::value ? c.columns
                                    : 1,
          at, 4),
        y(c.steps, c.columns, {at.pad, at.offset}, 5),
        state(1, c.rows * c.columns, at, 6) {
    const RandomStream numbers(9, "decays");
    for (int64_t t = 0; t < c.steps; ++t)
      for (int64_t i = 0; i < a.view().cols; ++i) {
        const auto n = static_cast<uint64_t>(t * a.view().cols + i);
        a.view().row(t)[i] = static_cast<T>(
            static_cast<float>(decay_value(c.strength, numbers.uniform(2 * n), numbers.normal(2 * n + 1))));
      }
    const bool back = c.backwards && c.steps > 0;
    pass = {c.steps,           x1.in_order(back), x2.in_order(back),
            x3.in_order(back), a.in_order(back),  c.decay,
            c.exclusive,       y.in_order(back),  add,
            state.data()};
  }
  Rows<T> x1, x2, x3, a, y, state;
  GlaPass<T> pass;
};

void check(const Case& c, double f64 = 0.2, std::span<const Layout> layouts = kLayouts) {
  INFO(c.rows, "x", c.columns, ", ", c.steps, " steps, decay ", static_cast<int>(c.decay), ", strength ",
       static_cast<int>(c.strength), ", exclusive ", c.exclusive, ", backwards ", c.backwards);
  expect_one_result(
      [&]<class T>(Layout at, bool add) {
        Problem<T> p(c, at, add);
        kernel::gla<T>(p.pass);
        const double roundings = sizeof(T) == 4 ? 0.75 : f64;
        return Results<T>{{p.y, add, roundings, true}, {p.state, false, roundings, true}};
      },
      layouts);
}

// How many of the outputs up to a token, of all `tokens`, change a bit when what comes after it changes or is cut off.
template <class T>
int64_t changed_by_future(const Case& c, const std::vector<int64_t>& tokens) {
  const Problem<T> start(c, {1, 3});
  Problem<T> now(c, {1, 3}), other(c, {1, 3});
  kernel::gla<T>(now.pass);
  int64_t changed = 0;
  for (int64_t t : tokens)
    for (double factor : {1e-30, 0.0, 0.5, 1.0}) {
      for (auto rows :
           {&Problem<T>::x1, &Problem<T>::x2, &Problem<T>::x3, &Problem<T>::a, &Problem<T>::y, &Problem<T>::state})
        other.*rows = start.*rows;  // in the memory that it has
      for (int64_t u = t + 1; u < c.steps; ++u) {
        for (const View<T>& x : {other.x1.view(), other.x2.view(), other.x3.view()})
          for (int64_t i = 0; i < x.cols; ++i) x.row(u)[i] *= -1000;
        // Every other number alone: blocks of the state then differ in where they cut.
        for (int64_t i = u % 2; i < other.a.view().cols; i += 2) other.a.view().row(u)[i] *= static_cast<T>(factor);
      }
      other.pass.steps = factor == 1.0 ? t + 1 : c.steps;
      kernel::gla<T>(other.pass);
      for (int64_t u = 0; u <= t; ++u)
        changed +=
            std::memcmp(now.y.view().row(u), other.y.view().row(u), sizeof(T) * static_cast<size_t>(c.columns)) != 0;
    }
  return changed;
}

constexpr Decay kDecays[] = {Decay::none, Decay::scalar, Decay::key, Decay::value};

}  // namespace

TEST_CASE("gla kernel: one result for all numbers of columns, rows and steps") {
  for (Decay decay : kDecays)
    for (bool exclusive : {false, true})
      for (int64_t columns = 0; columns <= 35; ++columns)
        check({1 + columns % 10, 1 + columns % 7, columns, decay, Strength::mixed, exclusive, columns % 3 == 0});
}

TEST_CASE("gla kernel: states of several blocks, long and short runs, in place and packed, have one result") {
  const int64_t sizes[][2] = {{32, 32}, {64, 64}, {64, 128}, {65, 63}, {130, 17}, {100, 129}};
  for (const auto& size : sizes)
    for (Decay decay : kDecays)
      for (int64_t steps : {1, 3, 4, 15, 16, 67, 130})
        check({steps, size[0], size[1], decay, steps % 2 ? Strength::mild : Strength::mixed, steps % 3 == 0,
               steps % 5 == 0},
              1, std::span(kLayouts).subspan(1, 1));
}

TEST_CASE("gla kernel: strong decays and zeros are exact, forwards and backwards in time") {
  for (Strength strength : {Strength::mild, Strength::strong, Strength::zeros, Strength::mixed})
    for (Decay decay : {Decay::scalar, Decay::key, Decay::value})
      for (bool exclusive : {false, true})
        for (bool backwards : {false, true}) check({61, 33, 40, decay, strength, exclusive, backwards});
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
              const Case c{steps, size[0], size[1], decay, strength, exclusive};
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
    const Rows<double> x1(9, 5, {}, 1), x2(9, 5, {}, 2), x3(9, 7, {}, 3);
    Rows<double> y(9, 7, {}, 4);
    std::vector<double> one(35, 1.0), two = one;
    GlaPass<double> p{9, x1.view(), x2.view(), x3.view(), {}, Decay::none, false, y.view(), false, one.data()};
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
