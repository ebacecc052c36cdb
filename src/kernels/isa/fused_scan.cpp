// Scans of one sequence whose coefficients are computed where they are used, forwards and backwards, so that nothing
// but the inputs and h touches memory: minLSTM, HGRN, RG-LRU (ScanForm in kernels/table.h).
#include "kernels/isa/math.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kBlock = 512;  // columns, whose running gradient stays in the first-level cache

template <class T>
struct Coefficients {
  T a, b;
};
template <class T>
struct Slopes {  // of g h_t to the inputs and the row; a: what h_{t-1} is multiplied by
  T a, x0, x1, x2, row;
};

// s(f) / (s(f) + s(i)) = (e^m + e^(m-i)) / (2 e^m + e^(m-i) + e^(m-f)) with m = min(f, i, 0): one of the three
// exponentials is 1, none is above it, and the denominator is at least 1.
template <bool kG>
struct MinLstm {
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
    if constexpr (kG) {
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

struct Hgrn {
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

// With e = a - 1 = expm1(log a), 1 - a^2 = -e (2 + e), also where a is near 1. The root's slope 1 / (2 m) is bounded by
// 1000, as the authors do.
struct RgLru {
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
  [[gnu::always_inline]] static float root(float x) { return __builtin_sqrtf(x); }
  [[gnu::always_inline]] static double root(double x) { return __builtin_sqrt(x); }
};

template <class Form, class T>
void forward(const FusedScan<T>& s, int inputs, View<T> h) {
  const T* before = s.h0;
  for (int64_t t = 0; t < h.rows; ++t) {
    const T *x0 = s.x[0].row(t), *x1 = s.x[1].row(t), *x2 = inputs > 2 ? s.x[2].row(t) : x1, *row = s.row ? s.row : x0;
    T* y = h.row(t);
    if (!before || (s.starts && s.starts[t])) {
#pragma omp simd
      for (int64_t c = 0; c < h.cols; ++c) y[c] = Form::template coefficients<true>(x0[c], x1[c], x2[c], row[c]).b;
    } else {
#pragma omp simd
      for (int64_t c = 0; c < h.cols; ++c) {
        const Coefficients<T> k = Form::template coefficients<false>(x0[c], x1[c], x2[c], row[c]);
        y[c] = mul_add(k.a, before[c], k.b);
      }
    }
    before = y;
  }
}

// One row: g, the gradient of h_t on entry, becomes that of h_{t-1}.
template <class Form, bool kAdd, bool kFirst, class T>
void backward_row(const T* x0, const T* x1, const T* x2, const T* row, const T* before, int64_t n, T* __restrict g,
                  T* __restrict d0, T* __restrict d1, T* __restrict d2, T* __restrict d_row) {
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    const Slopes<T> s = Form::template slopes<kFirst>(x0[c], x1[c], x2[c], row[c], g[c], kFirst ? T(0) : before[c]);
    d0[c] = kAdd ? d0[c] + s.x0 : s.x0;
    d1[c] = kAdd ? d1[c] + s.x1 : s.x1;
    d2[c] = kAdd ? d2[c] + s.x2 : s.x2;
    d_row[c] += s.row;
    g[c] = kFirst ? T(0) : g[c] * s.a;
  }
}

template <class Form, class T>
void backward(const FusedScan<T>& s, int inputs, const FusedScanBackward<T>& d) {
  alignas(64) T g[kBlock], d_row[kBlock], spare[3][kBlock];
  const bool same = d.add[0] == d.add[1] && (inputs < 3 || d.add[1] == d.add[2]);
  for (int64_t c0 = 0; c0 < d.h.cols; c0 += kBlock) {
    const int64_t n = smaller(kBlock, d.h.cols - c0);
    for (int64_t c = 0; c < n; ++c) g[c] = d.d_last ? d.d_last[c0 + c] : T(0);
    for (int64_t c = 0; c < n; ++c) d_row[c] = 0;
    for (int64_t c = 0; c < n; ++c) spare[0][c] = spare[1][c] = spare[2][c] = 0;
    for (int64_t t = d.h.rows - 1; t >= 0; --t) {
      if (d.d_h) {
        const T* from = d.d_h.row(t) + c0;
#pragma omp simd
        for (int64_t c = 0; c < n; ++c) g[c] += from[c];
      }
      const T *x0 = s.x[0].row(t) + c0, *x1 = s.x[1].row(t) + c0, *x2 = inputs > 2 ? s.x[2].row(t) + c0 : x1;
      const T* row = s.row ? s.row + c0 : x0;
      const bool first = s.starts && s.starts[t];
      const T* before = first ? nullptr : t > 0 ? d.h.row(t - 1) + c0 : s.h0 ? s.h0 + c0 : nullptr;
      T* into[3];
      for (int k = 0; k < 3; ++k) into[k] = same && k < inputs && d.dx[k] ? d.dx[k].row(t) + c0 : spare[k];
      const auto run = [&]<bool kAdd>() {
        before ? backward_row<Form, kAdd, false>(x0, x1, x2, row, before, n, g, into[0], into[1], into[2], d_row)
               : backward_row<Form, kAdd, true>(x0, x1, x2, row, before, n, g, into[0], into[1], into[2], d_row);
      };
      same&& d.add[0] ? run.template operator()<true>() : run.template operator()<false>();
      for (int k = 0; !same && k < inputs; ++k) {
        if (!d.dx[k]) continue;
        T* to = d.dx[k].row(t) + c0;
        for (int64_t c = 0; c < n; ++c) to[c] = d.add[k] ? to[c] + spare[k][c] : spare[k][c];
      }
    }
    if (d.d_row)
      for (int64_t c = 0; c < n; ++c) d.d_row[c0 + c] = d_row[c];
    if (d.d_h0)
      for (int64_t c = 0; c < n; ++c) d.d_h0[c0 + c] = (d.add_h0 ? d.d_h0[c0 + c] : T(0)) + g[c];
  }
}

template <class Visit>
void with_form(ScanForm f, Visit visit) {
  switch (f) {
    case ScanForm::min_lstm:
      return visit(MinLstm<false>{});
    case ScanForm::min_lstm_g:
      return visit(MinLstm<true>{});
    case ScanForm::hgrn:
      return visit(Hgrn{});
    case ScanForm::rg_lru:
      return visit(RgLru{});
  }
}

template <class T>
void fused_scan(ScanForm f, const FusedScan<T>& s, View<T> h) noexcept {
  with_form(f, [&]<class Form>(Form) { forward<Form, T>(s, inputs_of(f), h); });
}

template <class T>
void fused_scan_backward(ScanForm f, const FusedScan<T>& s, const FusedScanBackward<T>& d) noexcept {
  with_form(f, [&]<class Form>(Form) { backward<Form, T>(s, inputs_of(f), d); });
}

template <class T>
void fill_one(Kernels<T>& k) {
  k.fused_scan = fused_scan<T>;
  k.fused_scan_backward = fused_scan_backward<T>;
}

}  // namespace

void fill_fused_scan(Kernels<float>& f, Kernels<double>& d) {
  fill_one(f);
  fill_one(d);
}

}  // namespace effllm::EFFLLM_ISA
