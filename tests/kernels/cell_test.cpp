#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/cell.h"
#include "kernels/dense.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

double logistic(double x) { return 1 / (1 + std::exp(-x)); }

template <class T>
void check_packed(int64_t m, int64_t k, int64_t n, bool transposed, bool add, Layout at) {
  CAPTURE(m);
  CAPTURE(k);
  CAPTURE(n);
  const Rows<T> a(m, k, at, 1), w(transposed ? n : k, transposed ? k : n, at, 2);
  Rows<T> c(m, n, at, 3);
  std::vector<T> packed(static_cast<size_t>(kernel::packed_size<T>(k, n)), std::numeric_limits<T>::quiet_NaN());
  kernel::pack<T>(transposed, w.view(), packed.data());
  kernel::multiply_packed<T>(a.view(), packed.data(), c.view(), add);
  const double error = c.error([&](int64_t r, int64_t x) {
    double sum = add ? c.before(r, x) : 0;
    for (int64_t i = 0; i < k; ++i) sum += a.at(r, i) * (transposed ? w.at(x, i) : w.at(i, x));
    return sum;
  });
  CHECK(error < 10 * kTolerance<T>);
}

template <class T>
void check_lstm(int64_t n, Layout at, bool first) {
  const Rows<T> in(1, 4 * n, at, 1), sum(1, 4 * n, at, 2), before(1, n, at, 3);
  Rows<T> h(1, n, at, 4), c(1, n, at, 5), gates(1, 4 * n, at, 6);
  LstmStep<T> s{n, in.view().data, nullptr, nullptr, h.data(), c.data(), gates.data()};
  if (!first) s.recurrent = sum.view().data, s.c_before = before.view().data;
  kernel::lstm_cell<T>(s);
  const auto gate = [&](int64_t g, int64_t x) {
    const double y = in.at(0, g * n + x) + (first ? 0 : sum.at(0, g * n + x));
    return g == 2 ? std::tanh(y) : logistic(y);
  };
  const auto cell = [&](int64_t x) { return gate(0, x) * gate(2, x) + (first ? 0 : gate(1, x) * before.at(0, x)); };
  const double bound = 2 * kTolerance<T>;
  CHECK(gates.error([&](int64_t, int64_t x) { return gate(x / n, x % n); }) < bound);
  CHECK(c.error([&](int64_t, int64_t x) { return cell(x); }) < bound);
  CHECK(h.error([&](int64_t, int64_t x) { return gate(3, x) * std::tanh(cell(x)); }) < bound);
  // In place, and nothing kept: the same but for roundings.
  Rows<T> again(1, n, at, 4), running(1, n, at, 3);
  s.h = again.data(), s.c = running.data(), s.gates = nullptr;
  if (!first) s.c_before = running.data();
  kernel::lstm_cell<T>(s);
  CHECK(again.error([&](int64_t, int64_t x) { return h.at(0, x); }) < kTolerance<T>);
  CHECK(running.error([&](int64_t, int64_t x) { return c.at(0, x); }) < kTolerance<T>);

  const Rows<T> d_h(1, n, at, 7);
  Rows<T> d_c(1, n, at, 8), d(1, 4 * n, at, 9);
  kernel::lstm_cell_backward<T>(
      {n, gates.data(), c.data(), s.c_before ? before.view().data : nullptr, d_h.view().data, d_c.data(), d.data()});
  const auto through = [&](int64_t x) {
    const double y = std::tanh(cell(x));
    return d_c.before(0, x) + d_h.at(0, x) * gate(3, x) * (1 - y * y);
  };
  CHECK(d_c.error([&](int64_t, int64_t x) { return first ? 0 : through(x) * gate(1, x); }) < 2 * bound);
  CHECK(d.error([&](int64_t, int64_t i) {
    const int64_t g = i / n, x = i % n;
    const double y = gate(g, x), slope = g == 2 ? 1 - y * y : y * (1 - y);
    const double factor[] = {through(x) * gate(2, x), first ? 0 : through(x) * before.at(0, x), through(x) * gate(0, x),
                             d_h.at(0, x) * std::tanh(cell(x))};
    return factor[g] * slope;
  }) < 2 * bound);
}

template <class T>
void check_gru(int64_t n, Layout at, bool first) {
  const Rows<T> in(1, 3 * n, at, 1), sum(1, 3 * n, at, 2), bias(1, n, at, 3), before(1, n, at, 4);
  Rows<T> h(1, n, at, 5), gates(1, 4 * n, at, 6);
  GruStep<T> s{n, in.view().data, nullptr, bias.view().data, nullptr, h.data(), gates.data()};
  if (!first) s.recurrent = sum.view().data, s.h_before = before.view().data;
  kernel::gru_cell<T>(s);
  const auto state = [&](int64_t x) { return first ? 0 : before.at(0, x); };
  const auto recurrent = [&](int64_t i) { return first ? 0 : sum.at(0, i); };
  const auto gate = [&](int64_t g, int64_t x) { return logistic(in.at(0, g * n + x) + recurrent(g * n + x)); };
  const auto product = [&](int64_t x) { return recurrent(2 * n + x) + bias.at(0, x); };
  const auto candidate = [&](int64_t x) { return std::tanh(in.at(0, 2 * n + x) + gate(0, x) * product(x)); };
  const double bound = 2 * kTolerance<T>;
  CHECK(h.error([&](int64_t, int64_t x) { return (1 - gate(1, x)) * candidate(x) + gate(1, x) * state(x); }) < bound);
  CHECK(gates.error([&](int64_t, int64_t i) {
    const int64_t x = i % n;
    return i < 2 * n ? gate(i / n, x) : i < 3 * n ? candidate(x) : product(x);
  }) < bound);
  Rows<T> running(1, n, at, 4);
  s.h = running.data(), s.gates = nullptr;
  if (!first) s.h_before = running.data();
  kernel::gru_cell<T>(s);
  CHECK(running.error([&](int64_t, int64_t x) { return h.at(0, x); }) < kTolerance<T>);

  Rows<T> d_h(1, n, at, 7), d(1, 3 * n, at, 8), dq(1, n, at, 9);
  kernel::gru_cell_backward<T>(
      {n, gates.data(), first ? nullptr : before.view().data, d_h.data(), d.data(), dq.data()});
  const auto du = [&](int64_t x) { return d_h.before(0, x) * (1 - gate(1, x)) * (1 - candidate(x) * candidate(x)); };
  CHECK(d_h.error([&](int64_t, int64_t x) { return first ? 0 : d_h.before(0, x) * gate(1, x); }) < 2 * bound);
  CHECK(dq.error([&](int64_t, int64_t x) { return du(x) * gate(0, x); }) < 2 * bound);
  CHECK(d.error([&](int64_t, int64_t i) {
    const int64_t x = i % n;
    if (i >= 2 * n) return du(x);
    const double y = gate(i / n, x);
    return (i < n ? du(x) * product(x) : d_h.before(0, x) * (state(x) - candidate(x))) * y * (1 - y);
  }) < 2 * bound);
}

}  // namespace

TEST_CASE("packed product: a plain product at all sizes and offsets") {
  for_each_isa([&] {
    for (const Layout& at : kLayouts)
      for (bool transposed : {false, true})
        for (bool add : {false, true}) {
          for (int64_t n = 1; n <= 40; n += 3)
            for (int64_t m : {1, 2, 5, 9}) {
              check_packed<float>(m, n % 7 + 1, n, transposed, add, at);
              check_packed<double>(m, n % 7 + 1, n, transposed, add, at);
            }
          for (int64_t m : {1, 7, 15, 32, 33, 70}) {
            check_packed<float>(m, 300, 37, transposed, add, at);
            check_packed<double>(m, 129, 21, transposed, add, at);
          }
        }
  });
}

TEST_CASE("lstm and gru kernels: their equations at all sizes and offsets") {
  for_each_size(1, [](int64_t n, Layout at) {
    CAPTURE(n);
    for (bool first : {false, true}) {
      check_lstm<float>(n, at, first);
      check_lstm<double>(n, at, first);
      check_gru<float>(n, at, first);
      check_gru<double>(n, at, first);
    }
  });
}
