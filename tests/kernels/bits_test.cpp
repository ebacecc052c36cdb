// A number's bits follow from what it is computed from alone: not from how many rows are computed with it, from what
// stands in them, from its place in a row of independent columns, nor from where its memory begins. Tiles, vectors and
// what is left of them, row counts around every tile: all of one rounding. scripts/check_bits.sh does the same for what
// the compiler is asked to optimise.
#include <doctest/doctest.h>

#include <functional>

#include "kernels/dense.h"
#include "kernels/gated_skip.h"
#include "kernels/groups.h"
#include "kernels/loss.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/pointwise.h"
#include "kernels/rows.h"
#include "kernels/scan.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// y[rows, out] of x and g [rows, kCols], each row by itself.
constexpr int64_t kRows = 31, kCols = 46, kInner = 2 * kCols;
template <class T>
struct RowKernel {
  std::string name;
  int64_t out, most;  // columns of y; rows up to which a product runs in the same way, 0: any number
  std::function<void(View<const T> x, View<const T> g, View<T> y)> run;
};

template <class T>
std::vector<RowKernel<T>> row_kernels() {
  static Rows<T> b(kInner, kInner, {1, 3}, 11, 0.3), w(1, kCols, {1, 0}, 12), bias(1, kCols, {3, 0}, 13);
  static std::vector<T> packed;
  const View<const T> weight{b.view().data, kCols, 41, b.view().stride};
  packed.assign(static_cast<size_t>(kernel::packed_size<T>(kCols, 41)), T(0));
  kernel::pack<T>(false, weight, packed.data());
  std::vector<RowKernel<T>> all = {
      {"gemm", 41, 0,
       [](auto x, auto, auto y) {
         kernel::gemm<T>(
             {false, false, x.rows, 41, kCols, x.data, x.stride, b.data(), b.view().stride, y.data, y.stride, false});
       }},
      {"gemm transposed b, few rows", 41, 8,
       [](auto x, auto, auto y) {
         kernel::gemm<T>(
             {false, true, x.rows, 41, kCols, x.data, x.stride, b.data(), b.view().stride, y.data, y.stride, false});
       }},
      {"packed product", 41, 0, [](auto x, auto, auto y) { kernel::multiply_packed<T>(x, packed.data(), y, false); }},
      {"multiply", kCols, 0, [](auto x, auto g, auto y) { kernel::multiply<T>(T(0.7), x, g, y, true); }},
      {"scale", kCols, 0, [](auto x, auto, auto y) { kernel::scale<T>(T(0.7), x, y, true); }},
      {"scale_columns", kCols, 0,
       [](auto x, auto, auto y) { kernel::scale_columns<T>(x, w.data(), bias.data(), y, false); }},
      {"swiglu", kCols / 2, 0, [](auto x, auto, auto y) { kernel::swiglu<T>(x, y); }},
      {"swiglu backward", kCols, 0,
       [](auto x, auto g, auto y) {
         kernel::swiglu_backward<T>(x, {g.data, g.rows, kCols / 2, g.stride}, y, true);
       }},
      {"rms_norm", kCols, 0,
       [](auto x, auto, auto y) {
         std::vector<T> rstd(static_cast<size_t>(2 * x.rows));
         kernel::rms_norm<T>(x, w.data(), kCols / 2, T(1e-5), y, rstd.data());
       }},
      {"rms_norm backward", kCols, 0,
       [](auto x, auto g, auto y) {
         const std::vector<T> rstd(static_cast<size_t>(x.rows), T(0.9));
         kernel::rms_norm_backward<T>(x, w.data(), kCols, rstd.data(), g, y, true, nullptr, false);
       }},
      {"layer_norm", kCols, 0,
       [](auto x, auto, auto y) {
         std::vector<T> mean(static_cast<size_t>(x.rows)), rstd(mean);
         kernel::layer_norm<T>(x, w.data(), bias.data(), kCols, T(1e-5), y, mean.data(), rstd.data());
       }},
      {"layer_norm backward", kCols, 0,
       [](auto x, auto g, auto y) {
         const std::vector<T> mean(static_cast<size_t>(x.rows), T(0.1)), rstd(static_cast<size_t>(x.rows), T(0.9));
         kernel::layer_norm_backward<T>(x, w.data(), kCols, mean.data(), rstd.data(), g, y, true, nullptr, false,
                                        nullptr, false);
       }},
      {"cross_entropy", kCols, 0,
       [](auto x, auto, auto y) {
         const std::vector<int32_t> targets(static_cast<size_t>(x.rows), 5);
         kernel::cross_entropy<T>(x, targets.data(), nullptr, T(0.3), 0, y, nullptr, nullptr);
       }},
      {"group_dot", 2, 0, [](auto x, auto g, auto y) { kernel::group_dot<T>(x, g, y, false); }},
      {"gated_skip", kCols, 0, [](auto x, auto g, auto y) { kernel::gated_skip<T>(x, g, x, w.data(), 2, y); }}};
  for (int f = 0; f <= static_cast<int>(Pointwise::log); ++f) {
    const auto which = static_cast<Pointwise>(f);
    all.push_back({"pointwise " + std::to_string(f), kCols, 0,
                   [which](auto x, auto, auto y) { kernel::pointwise<T>(which, x, y); }});
    all.push_back({"pointwise backward " + std::to_string(f), kCols, 0,
                   [which](auto x, auto g, auto y) { kernel::pointwise_backward<T>(which, x, g, y, true); }});
  }
  return all;
}

// Rows [from, from + count) of a run over these rows alone.
template <class T>
std::vector<T> computed(const RowKernel<T>& k, const Rows<T>& x, const Rows<T>& g, int64_t from, int64_t count,
                        Layout at) {
  Rows<T> y(count, k.out, at, 9);  // what is added to: the same numbers for every row
  for (int64_t r = 0; r < count; ++r)
    for (int64_t c = 0; c < k.out; ++c) y.view().row(r)[c] = T(0.25);
  k.run(x.view().part(from, count), g.view().part(from, count), y.view());
  std::vector<T> all;
  for (int64_t r = 0; r < count; ++r) all.insert(all.end(), y.view().row(r), y.view().row(r) + k.out);
  return all;
}

template <class T>
bool same(const T* a, const T* b, int64_t n) {
  return std::memcmp(a, b, static_cast<size_t>(n) * sizeof(T)) == 0;
}

}  // namespace

TEST_CASE_TEMPLATE("kernel bits: a row is the same whatever rows stand beside it", T, float, double) {
  for_each_isa([] {
    for (const RowKernel<T>& k : row_kernels<T>()) {
      INFO(isa(), ", ", k.name);
      const int64_t most = k.most ? k.most : kRows;
      Rows<T> x(most, kCols, {0, 0}, 1), g(most, kCols, {1, 3}, 2);
      const std::vector<T> all = computed(k, x, g, 0, most, {0, 0});
      for (const T v : all) REQUIRE(std::isfinite(v));
      int64_t differ = 0;
      for (int64_t count = 1; count <= most; ++count)
        for (int64_t from : {int64_t{0}, (most - count) / 2, most - count}) {
          const std::vector<T> part = computed(k, x, g, from, count, kLayouts[count % 3]);
          differ += !same(part.data(), all.data() + from * k.out, count * k.out);
        }
      CHECK(differ == 0);
      for (int64_t kept : {int64_t{0}, most / 2, most - 1}) {
        Rows<T> lone(most, kCols, {0, 0}, 1), lone_g(most, kCols, {1, 3}, 2);
        for (int64_t r = 0; r < most; ++r)
          for (int64_t c = 0; r != kept && c < kCols; ++c)
            lone.view().row(r)[c] = lone_g.view().row(r)[c] = std::numeric_limits<T>::quiet_NaN();
        const std::vector<T> beside = computed(k, lone, lone_g, 0, most, {0, 0});
        CHECK(same(beside.data() + kept * k.out, all.data() + kept * k.out, k.out));
      }
    }
  });
}

TEST_CASE_TEMPLATE("kernel bits: an element of independent columns is the same wherever it stands", T, float, double) {
  for_each_isa([] {
    const Rows<T> x(3, kCols, {0, 0}, 1), g(3, kCols, {1, 3}, 2), z(3, kCols, {3, 1}, 3);
    const auto from = [](const Rows<T>& r, int64_t c) { return r.view().columns(c, kCols - c); };
    // f(c, y): columns [c, kCols) into y.
    const auto check = [&](const std::string& name, const std::function<void(int64_t, View<T>)>& f) {
      INFO(isa(), ", ", name);
      Rows<T> whole(3, kCols, {0, 0}, 4);
      f(0, whole.view());
      for (int64_t c = 1; c < kCols; ++c) {
        Rows<T> y(3, kCols, {0, 0}, 4);
        f(c, {y.view().data + c, 3, kCols - c, y.view().stride});
        for (int64_t r = 0; r < 3; ++r) CHECK(same(y.view().row(r) + c, whole.view().row(r) + c, kCols - c));
      }
    };
    for (int f = 0; f <= static_cast<int>(Pointwise::log); ++f)
      check("pointwise " + std::to_string(f), [&](int64_t c, View<T> y) {
        kernel::pointwise_backward<T>(static_cast<Pointwise>(f), from(x, c), from(g, c), y, true);
      });
    check("multiply", [&](int64_t c, View<T> y) { kernel::multiply<T>(T(0.7), from(x, c), from(g, c), y, true); });
    for (const Candidate candidate : {Candidate::linear, Candidate::positive})
      check("gated_scan", [&](int64_t c, View<T> y) {
        kernel::gated_scan<T>({{from(x, c), from(g, c)}, nullptr, z.view().data + c, nullptr, candidate}, y, nullptr);
      });
    check("adamw", [&](int64_t c, View<T> y) {
      std::vector<T> m(kCols, T(0.1)), v(kCols, T(0.2));
      kernel::adamw<T>({1e-3, 0.9, 0.99, 1e-8, 0.1, 0.5, 0.1, 0.01}, kCols - c, x.view().data + c, y.data, m.data(),
                       v.data());
    });
  });
}
