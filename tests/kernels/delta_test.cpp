#include <doctest/doctest.h>

#include "kernels/delta.h"
#include "kernels/everywhere.h"

using namespace effllm;
using namespace effllm::test;

namespace {

enum class Decays { none, mild, strong, mixed };

// A pass over `steps` tokens, in time or against it, with numbers that keep the state near one.
template <class T>
struct Problem {
  Problem(int64_t n, int64_t rows, int64_t columns, Decays kind, Layout at, bool reverse = false)
      : steps(n),
        q(n, rows, at, 1),
        k(n, rows, at, 2, 1 / std::sqrt(static_cast<double>(rows))),
        v(n, columns, at, 3),
        a(n, 1, at, 4),
        beta(n, 1, at, 5),
        more(n, columns, at, 6),
        o(n, columns, at, 7),
        e(n, columns, at, 8),
        u(n, columns, at, 9),
        state(1, rows * columns, at, 10),
        decays(kind != Decays::none),
        back(reverse),
        scratch(static_cast<size_t>(5 * n + 64 * std::max(rows, columns))) {
    for (int64_t t = 0; t < n; ++t) {
      const double x = std::abs(static_cast<double>(*a.view().row(t)));
      double decay = 1;
      if (kind == Decays::mild) decay = 1 - 0.2 * std::min(1.0, x);
      if (kind == Decays::strong) decay = std::exp(-5 - 20 * x);
      if (kind == Decays::mixed)
        decay = t % 5 == 3 ? 0 : t % 5 == 1 ? std::exp(-40 * x) : t % 5 == 2 ? 1 : std::exp(-x);
      *a.view().row(t) = static_cast<T>(static_cast<float>(decay));
      *beta.view().row(t) = static_cast<T>(static_cast<float>(1 / (1 + x)));
    }
  }
  View<const T> decay() { return decays ? View<const T>(a.in_order(back)) : View<const T>{}; }
  DeltaPass<T> forward() {
    return {steps,
            q.in_order(back),
            k.in_order(back),
            v.in_order(back),
            decay(),
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
            decay(),
            beta.in_order(back),
            o.in_order(back),
            e.in_order(back),
            u.in_order(back),
            state.view().data,
            scratch.data()};
  }
  int64_t steps;
  Rows<T> q, k, v, a, beta, more, o, e, u, state;
  bool decays, back;
  std::vector<T> scratch;
};

// Of forward, of the values' backward, and of the keys', whose rows are v, more, o and whose columns k, q.
void check(int64_t steps, int64_t rows, int64_t columns, Decays kind, double f64,
           std::span<const Layout> layouts = kLayouts) {
  for (bool back : {false, true}) {
    INFO(rows, "x", columns, ", ", steps, " steps, decays ", static_cast<int>(kind), ", back ", back);
    expect_one_result(
        [&]<class T>(Layout at, bool) {
          Results<T> all;
          const double roundings = sizeof(T) == 4 ? (f64 < 0.5 ? 1 : 5) : f64;
          const auto add = [&](std::initializer_list<Rows<T>> results) {
            for (const Rows<T>& r : results) all.push_back({r, false, roundings, true});
          };
          Problem<T> forward(steps, rows, columns, kind, at, back), values = forward, keys = forward;
          kernel::delta<T>(forward.forward());
          add({forward.o, forward.e, forward.state});
          kernel::delta_values<T>(values.values());
          add({values.o, values.e, values.u, values.state});
          const int64_t n = rows;
          Rows<T> read(steps, n, at, 20), decayed(steps, n, at, 21), y(steps, columns, at, 22, 0.3);
          kernel::delta_keys<T>({steps, keys.v.in_order(back), y.in_order(back), keys.more.in_order(back),
                                 back ? View<const T>(keys.q.in_order(back)) : View<const T>{}, keys.k.in_order(back),
                                 keys.decay(), read.in_order(back), back ? View<T>{} : decayed.in_order(back),
                                 keys.state.data(), keys.scratch.data()});
          add({read, keys.state});
          if (!back) add({decayed});
          return all;
        },
        layouts);
  }
}

constexpr Decays kKinds[] = {Decays::none, Decays::mild, Decays::strong, Decays::mixed};

}  // namespace

TEST_CASE("delta kernels: one result for all numbers of columns, rows and steps") {
  for (Decays kind : kKinds)
    for (int64_t columns = 1; columns <= 35; ++columns) check(1 + columns % 7, 1 + columns % 10, columns, kind, 0.2);
}

TEST_CASE("delta kernels: states of several panels, long and short runs, in place and packed, have one result") {
  const int64_t sizes[][2] = {{32, 32}, {64, 128}, {65, 63}, {130, 17}, {100, 129}};
  for (const auto& size : sizes)
    for (Decays kind : kKinds)
      for (int64_t steps : {1, 2, 15, 16, 67, 130})
        check(steps, size[0], size[1], kind, 2, std::span(kLayouts).subspan(1, 1));
}

TEST_CASE("delta kernel: no bit of an output depends on later tokens, nor on how many there are") {
  const int64_t sizes[][2] = {{5, 7}, {33, 40}, {70, 130}};
  for_each_isa([&] {
    for (const auto& size : sizes)
      for (Decays kind : kKinds) {
        constexpr int64_t kSteps = 21;
        Problem<float> whole(kSteps, size[0], size[1], kind, {1, 3});
        kernel::delta<float>(whole.forward());
        int64_t changed = 0;
        for (int64_t t = 0; t + 1 < kSteps; ++t)
          for (double factor : {1e-30, 0.0, 0.5, 1.0}) {
            Problem<float> other(kSteps, size[0], size[1], kind, {1, 3});
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
