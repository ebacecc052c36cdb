#include "kernels/gemm.h"

#include <doctest/doctest.h>

#include "kernels/dense.h"
#include "kernels/rows.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kPad = 3;

template <class T>
std::vector<T> random_numbers(int64_t n, uint64_t seed) {
  const RandomStream numbers(seed, "gemm test");
  std::vector<T> x(static_cast<size_t>(n));
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<T>(numbers.normal(i));
  return x;
}

// A product with padded rows. What surrounds the operands is NaN, what surrounds C a mark that must stay.
template <class T>
struct Product {
  bool ta, tb, add;
  int64_t m, n, k;
  std::vector<T> a, b, c;
  int64_t lda, ldb, ldc;
  static constexpr T kMark = T(77);

  Product(bool ta_, bool tb_, int64_t m_, int64_t n_, int64_t k_, bool add_, int64_t pad = kPad)
      : ta(ta_), tb(tb_), add(add_), m(m_), n(n_), k(k_) {
    lda = (ta ? m : k) + pad;
    ldb = (tb ? k : n) + pad;
    ldc = n + pad;
    a = operand(ta ? k : m, ta ? m : k, lda, 1);
    b = operand(tb ? n : k, tb ? k : n, ldb, 2);
    c = random_numbers<T>(m * ldc, 3);
    for (int64_t r = 0; r < m; ++r)
      for (int64_t x = n; x < ldc; ++x) c[static_cast<size_t>(r * ldc + x)] = kMark;
  }
  static std::vector<T> operand(int64_t rows, int64_t cols, int64_t ld, uint64_t seed) {
    std::vector<T> x = random_numbers<T>(rows * ld, seed);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = cols; i < ld; ++i) x[static_cast<size_t>(r * ld + i)] = std::numeric_limits<T>::quiet_NaN();
    if (rows > 0) x.resize(static_cast<size_t>((rows - 1) * ld + cols));  // nothing to read after the last entry
    return x;
  }
  double exact(int64_t r, int64_t x) const {
    double s = add ? static_cast<double>(c[static_cast<size_t>(r * ldc + x)]) : 0;
    for (int64_t i = 0; i < k; ++i)
      s += static_cast<double>(a[static_cast<size_t>(ta ? i * lda + r : r * lda + i)]) *
           static_cast<double>(b[static_cast<size_t>(tb ? x * ldb + i : i * ldb + x)]);
    return s;
  }
  // Largest error of `multiply`, infinity where the pad changed or something is not finite.
  template <class F>
  double error(F&& multiply) const {
    std::vector<T> out = c;
    multiply(out.data());
    double worst = 0;
    for (int64_t r = 0; r < m; ++r)
      for (int64_t x = 0; x < ldc; ++x) {
        const double value = static_cast<double>(out[static_cast<size_t>(r * ldc + x)]);
        const double d = x < n ? std::abs(value - exact(r, x)) : std::abs(value - static_cast<double>(kMark));
        worst = std::isfinite(d) ? std::max(worst, d) : std::numeric_limits<double>::infinity();
      }
    return worst;
  }
  double kernel_error() const {
    return error([&](T* to) { kernel::gemm<T>({ta, tb, m, n, k, a.data(), lda, b.data(), ldb, to, ldc, add}); });
  }
  double front_error() const {
    return error([&](T* to) { gemm<T>(ta, tb, m, n, k, a.data(), lda, b.data(), ldb, to, ldc, add); });
  }
};

template <class T>
double tolerance(int64_t k) {
  return (sizeof(T) == 4 ? 2e-6 : 2e-15) * static_cast<double>(4 + k);
}

template <class T>
void check_sizes() {
  const std::vector<int64_t> ms = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 27, 29, 33},
                             ns = {0, 1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 65}, ks = {0, 1, 2, 3, 5, 8, 15, 17, 33};
  for (const int form : {0, 1, 2, 3})
    for (const int64_t m : ms)
      for (const int64_t n : ns)
        for (const int64_t k : ks) {
          const Product<T> p(form & 1, form & 2, m, n, k, (m + n + k) % 2 == 0);
          const double e = p.kernel_error();
          if (e > tolerance<T>(k))
            FAIL_CHECK(isa() << ": form " << form << ' ' << m << 'x' << n << 'x' << k << " is off by " << e);
        }
}

template <class T>
std::vector<T> product_of(int threads_now, int64_t m, int64_t n, int64_t k, bool ta, bool tb) {
  const Threads now(threads_now);
  Product<T> p(ta, tb, m, n, k, true, 16);
  parallel_gemm<T>(ta, tb, m, n, k, p.a.data(), p.lda, p.b.data(), p.ldb, p.c.data(), p.ldc, true);
  return p.c;
}

}  // namespace

TEST_CASE("gemm: every instruction set, every transposition, sizes around whole tiles") {
  for_each_isa([&] {
    check_sizes<float>();
    check_sizes<double>();
  });
}

TEST_CASE("gemm: sizes beyond one packed block") {
  for_each_isa([&] {
    for (const int form : {0, 1, 2, 3}) {
      CHECK(Product<float>(form & 1, form & 2, 45, 1043, 35, true).kernel_error() < tolerance<float>(35));
      CHECK(Product<float>(form & 1, form & 2, 31, 37, 531, false).kernel_error() < tolerance<float>(531));
      CHECK(Product<double>(form & 1, form & 2, 7, 530, 300, true).kernel_error() < tolerance<double>(300));
    }
  });
}

TEST_CASE("gemm: overwriting never reads C") {
  Product<float> p(false, true, 17, 19, 23, false);
  for (float& x : p.c) x = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> out = p.c;
  gemm<float>(false, true, p.m, p.n, p.k, p.a.data(), p.lda, p.b.data(), p.ldb, out.data(), p.ldc, false);
  for (int64_t r = 0; r < p.m; ++r)
    for (int64_t x = 0; x < p.n; ++x) CHECK(std::isfinite(out[static_cast<size_t>(r * p.ldc + x)]));
}

TEST_CASE("gemm: the backend and the small products agree with plain loops") {
  CHECK_FALSE(std::string(gemm_backend()).empty());
  for (const int form : {0, 1, 2, 3})
    for (const int64_t size : {1, 17, 40, 70}) {
      CHECK(Product<float>(form & 1, form & 2, size, size + 1, size, true).front_error() < tolerance<float>(size));
      CHECK(Product<double>(form & 1, form & 2, size, size + 1, size, false).front_error() < tolerance<double>(size));
    }
}

TEST_CASE("parallel_gemm: the same bits for any number of threads") {
  struct Size {
    int64_t m, n, k;
  };
  for (const Size s : {Size{600, 70, 50}, Size{130, 65, 40}, Size{3, 700, 64}, Size{64, 300, 90}, Size{1, 1, 5}})
    for (const int form : {0, 1, 2}) {
      const auto one = product_of<float>(1, s.m, s.n, s.k, form & 1, form & 2);
      for (const int n : {2, 3}) {
        const auto more = product_of<float>(n, s.m, s.n, s.k, form & 1, form & 2);
        CHECK(std::memcmp(one.data(), more.data(), one.size() * sizeof(float)) == 0);
      }
    }
}

TEST_CASE("parallel_gemm: right whichever way it is cut") {
  for (const int form : {0, 1, 2, 3})
    for (const bool wide : {false, true}) {
      const Product<double> p(form & 1, form & 2, wide ? 9 : 601, wide ? 301 : 13, 33, true);
      CHECK(p.error([&](double* c) {
        parallel_gemm<double>(p.ta, p.tb, p.m, p.n, p.k, p.a.data(), p.lda, p.b.data(), p.ldb, c, p.ldc, p.add);
      }) < tolerance<double>(33));
    }
}
