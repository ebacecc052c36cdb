// The elementwise part of a step of LSTM and GRU, of one sequence: gates from their sums, the new state, and back.
#include "kernels/cell.h"
#include "kernels/isa/math.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

// c and h may be the memory of c_before and h_before: every column is read before it is written.
template <bool kFirst, bool kKeep, class T>
void lstm_columns(const LstmStep<T>& s) {
  const int64_t n = s.width;
  const T *in = s.in, *sum = s.recurrent, *before = s.c_before;
  T *h = s.h, *cell = s.c, *kept = s.gates;
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    T i = in[c], f = in[n + c], g = in[2 * n + c], o = in[3 * n + c];
    if constexpr (!kFirst) i += sum[c], f += sum[n + c], g += sum[2 * n + c], o += sum[3 * n + c];
    const Sigmoids<T> two = sigmoids(i, f);
    g = fast_tanh(g);
    o = sigmoid(o);
    const T now = mul_add(two.x, g, kFirst ? T(0) : two.y * before[c]);
    cell[c] = now;
    h[c] = o * fast_tanh(now);
    if constexpr (kKeep) kept[c] = two.x, kept[n + c] = two.y, kept[2 * n + c] = g, kept[3 * n + c] = o;
  }
}

template <class T>
void lstm_cell(const LstmStep<T>& s) noexcept {
  if (s.recurrent)
    s.gates ? lstm_columns<false, true>(s) : lstm_columns<false, false>(s);
  else
    s.gates ? lstm_columns<true, true>(s) : lstm_columns<true, false>(s);
}

template <bool kFirst, class T>
void lstm_back(const LstmStepBackward<T>& s) {
  const int64_t n = s.width;
  const T *kept = s.gates, *cell = s.c, *before = s.c_before, *d_h = s.d_h;
  T *carry = s.d_c, *d = s.d_gates;
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    const T i = kept[c], f = kept[n + c], g = kept[2 * n + c], o = kept[3 * n + c];
    const T y = fast_tanh(cell[c]), dh = d_h[c];
    const T dc = mul_add(dh * o, mul_sub_from(y, y, T(1)), carry[c]);
    d[c] = dc * g * i * (T(1) - i);
    d[n + c] = kFirst ? T(0) : dc * before[c] * f * (T(1) - f);
    d[2 * n + c] = dc * i * mul_sub_from(g, g, T(1));
    d[3 * n + c] = dh * y * o * (T(1) - o);
    carry[c] = kFirst ? T(0) : dc * f;
  }
}

template <class T>
void lstm_cell_backward(const LstmStepBackward<T>& s) noexcept {
  s.c_before ? lstm_back<false>(s) : lstm_back<true>(s);
}

template <bool kFirst, bool kKeep, class T>
void gru_columns(const GruStep<T>& s) {
  const int64_t n = s.width;
  const T *in = s.in, *sum = s.recurrent, *bias = s.bias, *before = s.h_before;
  T *h = s.h, *kept = s.gates;
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    T r = in[c], z = in[n + c], q = bias[c];
    if constexpr (!kFirst) r += sum[c], z += sum[n + c], q += sum[2 * n + c];
    const Sigmoids<T> two = sigmoids(r, z);
    const T u = fast_tanh(mul_add(two.x, q, in[2 * n + c]));
    h[c] = mul_add(T(1) - two.y, u, kFirst ? T(0) : two.y * before[c]);
    if constexpr (kKeep) kept[c] = two.x, kept[n + c] = two.y, kept[2 * n + c] = u, kept[3 * n + c] = q;
  }
}

template <class T>
void gru_cell(const GruStep<T>& s) noexcept {
  if (s.recurrent)
    s.gates ? gru_columns<false, true>(s) : gru_columns<false, false>(s);
  else
    s.gates ? gru_columns<true, true>(s) : gru_columns<true, false>(s);
}

template <bool kFirst, class T>
void gru_back(const GruStepBackward<T>& s) {
  const int64_t n = s.width;
  const T *kept = s.gates, *before = s.h_before;
  T *carry = s.d_h, *d = s.d_in, *dq = s.d_recurrent;
#pragma omp simd
  for (int64_t c = 0; c < n; ++c) {
    const T r = kept[c], z = kept[n + c], u = kept[2 * n + c], q = kept[3 * n + c], dh = carry[c];
    const T du = dh * (T(1) - z) * mul_sub_from(u, u, T(1));
    d[c] = du * q * r * (T(1) - r);
    d[n + c] = dh * ((kFirst ? T(0) : before[c]) - u) * z * (T(1) - z);
    d[2 * n + c] = du;
    dq[c] = du * r;
    carry[c] = kFirst ? T(0) : dh * z;
  }
}

template <class T>
void gru_cell_backward(const GruStepBackward<T>& s) noexcept {
  s.h_before ? gru_back<false>(s) : gru_back<true>(s);
}

}  // namespace

void fill_cell() {
  EFFLLM_SET(lstm_cell, lstm_cell);
  EFFLLM_SET(lstm_cell_backward, lstm_cell_backward);
  EFFLLM_SET(gru_cell, gru_cell);
  EFFLLM_SET(gru_cell_backward, gru_cell_backward);
}

}  // namespace effllm::EFFLLM_ISA
