// The scan that goes from h to a candidate by a gate: a = 1 - s(z), b = s(z) c.
#include "kernels/isa/scan.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <bool kPositive>
struct Gated {
  static constexpr int kInputs = 2;
  static constexpr bool kRow = false;
  template <class T>
  struct Gates {
    T z, c, slope;  // s(x), the candidate of u and its derivative
  };
  template <class T>
  [[gnu::always_inline]] static Gates<T> gates(T x, T u) {
    if constexpr (!kPositive) return {sigmoid(x), u, T(1)};
    const Sigmoids<T> s = sigmoids(x, u);
    return {s.x, u >= 0 ? u + T(0.5) : s.y, u >= 0 ? T(1) : s.y * (T(1) - s.y)};
  }
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Coefficients<T> coefficients(T x, T u, T, T) {
    const Gates<T> g = gates(x, u);
    return {T(1) - g.z, g.z * g.c};
  }
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Slopes<T> slopes(T x, T u, T, T, T g, T before) {
    const Gates<T> now = gates(x, u);
    const T rest = T(1) - now.z, d = g * now.z;
    return {rest, d * rest * (now.c - before), d * now.slope, T(0), T(0)};
  }
};

template <class T>
void scan(const Scan<T>& s, View<T> h, const ScanBackward<T>* d) noexcept {
  s.candidate == Candidate::positive ? run_scan<Gated<true>>(s, h, d) : run_scan<Gated<false>>(s, h, d);
}

}  // namespace

void fill_gated_scan() { EFFLLM_SET(gated_scan, scan); }

}  // namespace effllm::EFFLLM_ISA
