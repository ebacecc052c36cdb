// The scan whose gate stays above a floor: a = row + (1 - row) s(f), b = (1 - a) silu(u).
#include "kernels/isa/scan.h"

namespace effllm::EFFLLM_ISA {
namespace {

struct Floored {
  static constexpr int kInputs = 2;
  static constexpr bool kRow = true;
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Coefficients<T> coefficients(T f, T u, T, T row) {
    const Sigmoids<T> s = sigmoids(f, u);
    const T rest = (T(1) - row) * (T(1) - s.x);
    return {T(1) - rest, rest * u * s.y};
  }
  template <bool kFirst, class T>
  [[gnu::always_inline]] static Slopes<T> slopes(T f, T u, T, T row, T g, T before) {
    const Sigmoids<T> s = sigmoids(f, u);
    const T open = T(1) - s.x, rest = (T(1) - row) * open, d = g * (before - u * s.y);
    return {T(1) - rest, d * rest * s.x, g * rest * (s.y + u * s.y * (T(1) - s.y)), T(0), d * open};
  }
};

template <class T>
void scan(const Scan<T>& s, View<T> h, const ScanBackward<T>* d) noexcept {
  run_scan<Floored>(s, h, d);
}

}  // namespace

void fill_floored_scan() { EFFLLM_SET(floored_scan, scan); }

}  // namespace effllm::EFFLLM_ISA
