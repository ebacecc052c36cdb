// minGRU's recurrence with its gates, of one sequence: h_t = (1 - z_t) h_{t-1} + z_t c_t, z = sigmoid(gate). Gates are
// computed where they are used, forwards and backwards, so that nothing but gate, candidate and h touches memory.
#include "kernels/isa/math.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kBlock = 512;  // columns, whose running gradient stays in the first-level cache

// z, c and c's derivative from the gate x and the candidate u.
template <class T>
struct Gates {
  T z, c, slope;
};
template <Candidate kKind, class T>
[[gnu::always_inline]] inline Gates<T> gates_of(T x, T u) {
  if constexpr (kKind == Candidate::linear) return {sigmoid(x), u, T(1)};
  const Sigmoids<T> s = sigmoids(x, u);
  return {s.x, u >= 0 ? u + T(0.5) : s.y, u >= 0 ? T(1) : s.y * (T(1) - s.y)};
}

template <Candidate kKind, class T>
void forward(View<const T> gate, View<const T> candidate, const T* h0, const uint8_t* starts, View<T> h) {
  const T* before = h0;  // null: zero
  for (int64_t t = 0; t < gate.rows; ++t) {
    const T *x = gate.row(t), *u = candidate.row(t);
    T* y = h.row(t);
    if (!before || (starts && starts[t])) {
#pragma omp simd
      for (int64_t c = 0; c < gate.cols; ++c) {
        const Gates<T> g = gates_of<kKind>(x[c], u[c]);
        y[c] = g.z * g.c;
      }
    } else {
#pragma omp simd
      for (int64_t c = 0; c < gate.cols; ++c) {
        const Gates<T> g = gates_of<kKind>(x[c], u[c]);
        y[c] = mul_add(T(1) - g.z, before[c], g.z * g.c);
      }
    }
    before = y;
  }
}

// One row: g, the gradient of h_t on entry, becomes that of h_{t-1}. With d = g z: d_candidate = d c', and
// d_gate = g z (1 - z) (c - h_{t-1}).
template <Candidate kKind, bool kAdd, bool kBefore, class T>
void backward_row(const T* x, const T* u, const T* before, int64_t n, T* __restrict g, T* __restrict d_gate,
                  T* __restrict d_candidate) {
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    const Gates<T> now = gates_of<kKind>(x[c], u[c]);
    const T rest = T(1) - now.z, d = g[c] * now.z;
    const T dz = d * rest * (kBefore ? now.c - before[c] : now.c), dc = d * now.slope;
    d_gate[c] = kAdd ? d_gate[c] + dz : dz;
    d_candidate[c] = kAdd ? d_candidate[c] + dc : dc;
    g[c] *= rest;
  }
}

template <Candidate kKind, class T>
void backward(const GatedScanBackward<T>& a) {
  alignas(64) T g[kBlock], spare[2][kBlock];
  for (int64_t c0 = 0; c0 < a.gate.cols; c0 += kBlock) {
    const int64_t n = smaller(kBlock, a.gate.cols - c0);
    for (int64_t c = 0; c < n; ++c) g[c] = a.d_last ? a.d_last[c0 + c] : T(0);
    for (int64_t t = a.gate.rows - 1; t >= 0; --t) {
      if (a.d_h) {
        const T* d = a.d_h.row(t) + c0;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) g[c] += d[c];
      }
      const bool first = a.starts && a.starts[t];
      const T* before = first ? nullptr : t > 0 ? a.h.row(t - 1) + c0 : a.h0 ? a.h0 + c0 : nullptr;
      T* dz = a.d_gate ? a.d_gate.row(t) + c0 : spare[0];
      T* dc = a.d_candidate ? a.d_candidate.row(t) + c0 : spare[1];
      const T *x = a.gate.row(t) + c0, *u = a.candidate.row(t) + c0;
      const auto row = [&]<bool kAdd>(T* to_gate, T* to_candidate) {
        before ? backward_row<kKind, kAdd, true>(x, u, before, n, g, to_gate, to_candidate)
               : backward_row<kKind, kAdd, false>(x, u, before, n, g, to_gate, to_candidate);
      };
      if (a.add_gate == a.add_candidate) {
        a.add_gate ? row.template operator()<true>(dz, dc) : row.template operator()<false>(dz, dc);
      } else {
        row.template operator()<false>(a.add_gate ? spare[0] : dz, a.add_candidate ? spare[1] : dc);
        T* to = a.add_gate ? dz : dc;
        const T* from = spare[a.add_gate ? 0 : 1];
        for (int64_t c = 0; c < n; ++c) to[c] += from[c];
      }
      if (first)
        for (int64_t c = 0; c < n; ++c) g[c] = 0;
    }
    if (!a.d_h0) continue;
    for (int64_t c = 0; c < n; ++c) a.d_h0[c0 + c] = (a.add_h0 ? a.d_h0[c0 + c] : T(0)) + g[c];
  }
}

template <class T>
void gated_scan(Candidate kind, View<const T> gate, View<const T> candidate, const T* h0, const uint8_t* starts,
                View<T> h) noexcept {
  kind == Candidate::g ? forward<Candidate::g>(gate, candidate, h0, starts, h)
                       : forward<Candidate::linear>(gate, candidate, h0, starts, h);
}

template <class T>
void gated_scan_backward(Candidate kind, const GatedScanBackward<T>& a) noexcept {
  kind == Candidate::g ? backward<Candidate::g>(a) : backward<Candidate::linear>(a);
}

template <class T>
void fill_one(Kernels<T>& k) {
  k.gated_scan = gated_scan<T>;
  k.gated_scan_backward = gated_scan_backward<T>;
}

}  // namespace

void fill_gated_scan(Kernels<float>& f, Kernels<double>& d) {
  fill_one(f);
  fill_one(d);
}

}  // namespace effllm::EFFLLM_ISA
