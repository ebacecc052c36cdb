// The scan whose decay is a power of its gate, with inputs of one variance: a = exp(-8 row s(r)), b = sqrt(1 - a^2)
// s(i) u.
#include "kernels/isa/scan.h"

namespace effllm::EFFLLM_ISA {
namespace {

// With e = a - 1 = expm1(log a), 1 - a^2 = -e (2 + e), also where a is near 1. The root's slope 1 / (2 m) is bounded by
// 1000, as the authors do.
struct Power {
  static constexpr int kInputs = 3;
  static constexpr bool kRow = true;
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Coefficients<T> coefficients(T r, T i, T u, T row) {
    const Sigmoids<T> s = sigmoids(r, i);
    if constexpr (kFirst) return {T(0), s.y * u};
    const T e = fast_expm1(T(-8) * row * s.x), rest = -e * (T(2) + e);
    return {T(1) + e, root(rest) * s.y * u};
  }
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Slopes<T> slopes(T r, T i, T u, T row, T g, T before) {
    const Sigmoids<T> s = sigmoids(r, i);
    const T in = g * s.y, closed = T(1) - s.y;
    if constexpr (kFirst) return {T(0), T(0), in * closed * u, in, T(0)};
    const T e = fast_expm1(T(-8) * row * s.x), a = T(1) + e, m = root(-e * (T(2) + e));
    const T twice = m + m < T(1e-3) ? T(1e-3) : m + m;
    const T d_log_a = T(-8) * a * (g * before - T(2) * a * in * u / twice);
    return {a, d_log_a * row * s.x * (T(1) - s.x), in * m * closed * u, in * m, d_log_a * s.x};
  }
};

template <class T>
void scan(const Scan<T>& s, View<T> h, const ScanBackward<T>* d) noexcept {
  run_scan<Power>(s, h, d);
}

}  // namespace

void fill_power_scan() { EFFLLM_SET(power_scan, scan); }

}  // namespace effllm::EFFLLM_ISA
