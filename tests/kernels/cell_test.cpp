#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "kernels/cell.h"
#include "kernels/dense.h"
#include "kernels/everywhere.h"

using namespace effllm;
using namespace effllm::test;

namespace {

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
void add_lstm(Results<T>& all, int64_t n, Layout at, bool first) {
  const Rows<T> in(1, 4 * n, at, 1), sum(1, 4 * n, at, 2), before(1, n, at, 3), d_h(1, n, at, 7);
  Rows<T> h(1, n, at, 4), c(1, n, at, 5), gates(1, 4 * n, at, 6), again(1, n, at, 4), running(1, n, at, 3),
      d_c(1, n, at, 8), d(1, 4 * n, at, 9);
  LstmStep<T> s{n, in.view().data, nullptr, nullptr, h.data(), c.data(), gates.data()};
  if (!first) s.recurrent = sum.view().data, s.c_before = before.view().data;
  kernel::lstm_cell<T>(s);
  kernel::lstm_cell_backward<T>({n, gates.data(), c.data(), s.c_before, d_h.view().data, d_c.data(), d.data()});
  // In place, and nothing kept.
  s.h = again.data(), s.c = running.data(), s.gates = nullptr;
  if (!first) s.c_before = running.data();
  kernel::lstm_cell<T>(s);
  all.insert(
      all.end(),
      {{gates}, {c, false, 2}, {h, false, 2}, {again, false, 2}, {running, false, 2}, {d_c, false, 4}, {d, false, 4}});
}

template <class T>
void add_gru(Results<T>& all, int64_t n, Layout at, bool first) {
  const Rows<T> in(1, 3 * n, at, 1), sum(1, 3 * n, at, 2), bias(1, n, at, 3), before(1, n, at, 4);
  Rows<T> h(1, n, at, 5), gates(1, 4 * n, at, 6), running(1, n, at, 4), d_h(1, n, at, 7), d(1, 3 * n, at, 8),
      dq(1, n, at, 9);
  GruStep<T> s{n, in.view().data, nullptr, bias.view().data, nullptr, h.data(), gates.data()};
  if (!first) s.recurrent = sum.view().data, s.h_before = before.view().data;
  kernel::gru_cell<T>(s);
  kernel::gru_cell_backward<T>({n, gates.data(), s.h_before, d_h.data(), d.data(), dq.data()});
  s.h = running.data(), s.gates = nullptr;
  if (!first) s.h_before = running.data();
  kernel::gru_cell<T>(s);
  all.insert(all.end(),
             {{h, false, 2}, {gates, false, 2}, {running, false, 2}, {d_h, false, 4}, {d, false, 4}, {dq, false, 4}});
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

TEST_CASE("lstm and gru kernels: one result at all sizes and offsets, for a first token and a later one") {
  expect_one_result(1, []<class T>(int64_t n, Layout at, bool) {
    Results<T> all;
    for (bool first : {false, true}) {
      add_lstm(all, n, at, first);
      add_gru(all, n, at, first);
    }
    return all;
  });
}
