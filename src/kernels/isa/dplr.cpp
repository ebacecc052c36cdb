// Diagonal plus low rank, for one head: one token to a sweep over a panel of the state. A sweep does token t's update
// and reads both o_t and what token t+1 will need, so that the state is passed over once a token.
#include "kernels/isa/delta_tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T, int kVectors>
struct DplrStep {
  const T *q, *k, *b, *next, *d;                     // [rows]; d: key decay
  Vec<T> v[kVectors], c[kVectors], decay[kVectors];  // decay: of columns
  Vec<T> o[kVectors], r[kVectors];
};

enum class Factor { none, rows, columns };

template <Factor kFactor, class T, int kVectors>
[[gnu::noinline]] void dplr_sweep(DplrStep<T, kVectors>& w, T* m, int64_t m_stride, int64_t rows) {
  const T *q = w.q, *k = w.k, *b = w.b, *next = w.next, *d = w.d;
  Vec<T> v[kVectors], c[kVectors], o[kVectors], r[kVectors], decay[kVectors];
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) {
    v[j] = w.v[j];
    c[j] = w.c[j];
    decay[j] = w.decay[j];
    o[j] = r[j] = Vec<T>{};
  }
  for (int64_t i = 0; i < rows; ++i, m += m_stride) {
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      Vec<T> s = load(m + j * kLanes<T>);
      if constexpr (kFactor == Factor::rows) s *= d[i];
      if constexpr (kFactor == Factor::columns) s *= decay[j];
      s = mul_add(b[i], c[j], s);
      s = mul_add(k[i], v[j], s);
      store(m + j * kLanes<T>, s);
      o[j] = mul_add(q[i], s, o[j]);
      r[j] = mul_add(next[i], s, r[j]);
    }
  }
#pragma GCC unroll 4
  for (int j = 0; j < kVectors; ++j) {
    w.o[j] = o[j];
    w.r[j] = r[j];
  }
}

template <class T, int kVectors>
void run_dplr(const DplrPass<T>& p, const Panel<T, kVectors>& panel) {
  DplrStep<T, kVectors> w;
  for (int j = 0; j < kVectors; ++j) w.c[j] = w.decay[j] = Vec<T>{};
  if (p.first) {
    for (int j = 0; j < kVectors; ++j) w.c[j] = panel.read(p.first, j);
  } else if (p.read_first) {
    for (int64_t i = 0; i < panel.rows; ++i)
      for (int j = 0; j < kVectors; ++j)
        w.c[j] = mul_add(p.read_first[i], load(panel.m + i * panel.m_stride + j * kLanes<T>), w.c[j]);
    for (int j = 0; p.r_first && j < kVectors; ++j) panel.write(p.r_first, j, w.c[j]);
  }
  for (int64_t t = 0; t < p.steps; ++t) {
    const bool goes_on = t < p.next.rows;
    w.q = p.q.row(t);
    w.k = p.k.row(t);
    w.b = p.b.row(t);
    w.next = goes_on ? p.next.row(t) : w.q;
    w.d = p.decay == Decay::key ? p.d.row(t) : nullptr;
    for (int j = 0; j < kVectors; ++j) {
      w.v[j] = panel.read(p.v.row(t), j);
      if (p.decay == Decay::scalar) w.decay[j] = broadcast(*p.d.row(t));
    }
    if (p.decay == Decay::none)
      dplr_sweep<Factor::none>(w, panel.m, panel.m_stride, panel.rows);
    else if (p.decay == Decay::key)
      dplr_sweep<Factor::rows>(w, panel.m, panel.m_stride, panel.rows);
    else
      dplr_sweep<Factor::columns>(w, panel.m, panel.m_stride, panel.rows);
    for (int j = 0; j < kVectors; ++j) {
      panel.write(p.o.row(t), j, w.o[j]);
      if (goes_on && p.r) panel.write(p.r.row(t), j, w.r[j]);
      w.c[j] = w.r[j];
    }
  }
}

template <class T, int kVectors>
void run_dplr_keys(const DplrKeysPass<T>& p, const Panel<T, kVectors>& panel) {
  constexpr int64_t kLane = kLanes<T>;
  for (int64_t t = 0; t < p.steps; ++t) {
    const T *x = p.x.row(t), *v = p.v.row(t), *read = p.read.row(t), *peek = p.peek.row(t);
    Vec<T> b[kVectors], k[kVectors], o[kVectors], seen[kVectors], decay[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      b[j] = panel.read(p.b.row(t), j);
      k[j] = panel.read(p.k.row(t), j);
      decay[j] = p.decay == Decay::none     ? broadcast(T(1))
                 : p.decay == Decay::scalar ? broadcast(*p.d.row(t))
                                            : panel.read(p.d.row(t), j);
      o[j] = seen[j] = Vec<T>{};
    }
    T* m = panel.m;
    if (p.before) {
      for (int64_t i = 0; i < panel.rows; ++i, m += panel.m_stride)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) {
          Vec<T> s = load(m + j * kLane);
          seen[j] = mul_add(peek[i], s, seen[j]);
          s = mul_add(s, decay[j], mul_add(x[i], b[j], v[i] * k[j]));
          store(m + j * kLane, s);
          o[j] = mul_add(read[i], s, o[j]);
        }
    } else {
      for (int64_t i = 0; i < panel.rows; ++i, m += panel.m_stride)
#pragma GCC unroll 4
        for (int j = 0; j < kVectors; ++j) {
          Vec<T> s = load(m + j * kLane);
          s = mul_add(s, decay[j], mul_add(x[i], b[j], v[i] * k[j]));
          store(m + j * kLane, s);
          seen[j] = mul_add(peek[i], s, seen[j]);
          o[j] = mul_add(read[i], s, o[j]);
        }
    }
    for (int j = 0; j < kVectors; ++j) {
      panel.write(p.o.row(t), j, o[j]);
      panel.write(p.p.row(t), j, seen[j]);
    }
  }
}

template <class T>
void dplr(const DplrPass<T>& p) noexcept {
  for_panels(p.state, p.q.cols, p.v.cols, p.steps, p.scratch,
             [&]<int kVectors>(const Panel<T, kVectors>& panel) { run_dplr(p, panel); });
}

template <class T>
void dplr_keys(const DplrKeysPass<T>& p) noexcept {
  for_panels(p.state, p.x.cols, p.k.cols, p.steps, p.scratch,
             [&]<int kVectors>(const Panel<T, kVectors>& panel) { run_dplr_keys(p, panel); });
}

}  // namespace

void fill_dplr(Kernels<float>& f, Kernels<double>& d) {
  f.dplr = dplr<float>;
  d.dplr = dplr<double>;
  f.dplr_keys = dplr_keys<float>;
  d.dplr_keys = dplr_keys<double>;
}

}  // namespace effllm::EFFLLM_ISA
