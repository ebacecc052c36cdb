// The scan whose gates share one unit of mass: a = s(f) / (s(f) + s(i)), b = (1 - a) c.
//   s(f) / (s(f) + s(i)) = (e^m + e^(m-i)) / (2 e^m + e^(m-i) + e^(m-f)) with m = min(f, i, 0):
// one of the three exponentials is 1, none is above it, and the denominator is at least 1.
#include "kernels/isa/scan.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <bool kPositive>
struct Ratio {
  static constexpr int kInputs = 3;
  static constexpr bool kRow = false;
  template <class T>
  struct Gates {
    T forget, input, shut_f, shut_i, c, slope;  // a, 1 - a, (1 - a) (1 - s(f)), a (1 - s(i)), g(u), g'(u)
  };
  template <class T>
  [[gnu::always_inline]] static Gates<T> gates(T f, T i, T u) {
    const T low = f < i ? f : i, high = f < i ? i : f, m = low < 0 ? low : T(0);
    const T p = fast_exp(low < 0 ? low : -low), q = fast_exp(m - high);
    const T e_m = low < 0 ? p : T(1), e_low = low < 0 ? T(1) : p;
    const T e_f = f < i ? e_low : q, e_i = f < i ? q : e_low;
    const T r = T(1) / (e_m + e_m + e_f + e_i);
    T c = u, slope = 1;
    if constexpr (kPositive) {
      const T s = sigmoid(u);
      c = u >= 0 ? u + T(0.5) : s;
      slope = u >= 0 ? T(1) : s * (T(1) - s);
    }
    return {(e_m + e_i) * r, (e_m + e_f) * r, e_f * r, e_i * r, c, slope};
  }
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Coefficients<T> coefficients(T f, T i, T u, T) {
    const Gates<T> z = gates(f, i, u);
    return {z.forget, z.input * z.c};
  }
  // da/df = a (1 - a) (1 - s(f)), da/di = -a (1 - a) (1 - s(i)).
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Slopes<T> slopes(T f, T i, T u, T, T g, T before) {
    const Gates<T> z = gates(f, i, u);
    const T d = g * (before - z.c);
    return {z.forget, d * z.forget * z.shut_f, -d * z.input * z.shut_i, g * z.input * z.slope, T(0)};
  }
};

template <class T>
void scan(const Scan<T>& s, View<T> h, const ScanBackward<T>* d) noexcept {
  s.candidate == Candidate::positive ? run_scan<Ratio<true>>(s, h, d) : run_scan<Ratio<false>>(s, h, d);
}

}  // namespace

void fill_ratio_scan() { EFFLLM_SET(ratio_scan, scan); }

}  // namespace effllm::EFFLLM_ISA
