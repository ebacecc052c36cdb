// The two passes of the delta rule's backward that run over transposed states, where all updates are known beforehand:
// a tile of two tokens reads and updates a panel in one sweep, token after token. Then what follows from their results.
#include "kernels/delta.h"
#include "kernels/isa/delta_tile.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

// Of tile token u: numbers for each row, vectors over columns, sums.
template <class T, int kVectors>
struct KeysTile {
  const T *u[2], *y[2], *d_o[2];
  Vec<T> k[2][kVectors], q[2][kVectors];  // divided by p
  Vec<T> read[2][kVectors], decayed[2][kVectors];
};

template <int kTokens, bool kReverse, class T, int kVectors>
[[gnu::noinline]] void keys_sweep(KeysTile<T, kVectors>& tile, T* m, int64_t m_stride, int64_t rows) {
  const T *u0 = tile.u[0], *y0 = tile.y[0], *g0 = tile.d_o[0], *u1 = tile.u[1], *y1 = tile.y[1], *g1 = tile.d_o[1];
  Vec<T> k[kTokens][kVectors], q[kTokens][kVectors], read[kTokens][kVectors], decayed[kTokens][kVectors];
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      k[t][j] = tile.k[t][j];
      if constexpr (kReverse) q[t][j] = tile.q[t][j];
      read[t][j] = decayed[t][j] = Vec<T>{};
    }
  for (int64_t i = 0; i < rows; ++i, m += m_stride) {
    Vec<T> s[kVectors];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) s[j] = load(m + j * kLanes<T>);
#pragma GCC unroll 2
    for (int t = 0; t < kTokens; ++t) {
      const T u = t ? u1[i] : u0[i], y = t ? y1[i] : y0[i], g = t ? g1[i] : g0[i];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        if constexpr (kReverse) {
          s[j] = mul_add(g, q[t][j], s[j]);
          read[t][j] = mul_add(u, s[j], read[t][j]);
          s[j] = mul_sub_from(y, k[t][j], s[j]);
        } else {
          decayed[t][j] = mul_add(y, s[j], decayed[t][j]);
          s[j] = mul_add(u, k[t][j], s[j]);
          read[t][j] = mul_add(g, s[j], read[t][j]);
        }
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) store(m + j * kLanes<T>, s[j]);
  }
#pragma GCC unroll 2
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      tile.read[t][j] = read[t][j];
      if constexpr (!kReverse) tile.decayed[t][j] = decayed[t][j];
    }
}

template <bool kReverse, class T, int kVectors>
void run_keys(const DeltaKeysPass<T>& pass, const Plan<T>& plan, const Panel<T, kVectors>& panel) {
  KeysTile<T, kVectors> tile;
  for (int64_t t = 0; t < pass.steps;) {
    const int tokens = plan.tile(t, pass.steps);
    panel.multiply(plan.enter[t]);
    for (int n = 0; n < tokens; ++n) {
      const T inverse = T(1) / plan.p[t + n];
      tile.u[n] = pass.u.row(t + n);
      tile.y[n] = pass.y.row(t + n);
      tile.d_o[n] = pass.d_o.row(t + n);
      for (int j = 0; j < kVectors; ++j) {
        tile.k[n][j] = inverse * panel.read(pass.k.row(t + n), j);
        if constexpr (kReverse) tile.q[n][j] = inverse * panel.read(pass.q.row(t + n), j);
      }
    }
    if (tokens == 2)
      keys_sweep<2, kReverse>(tile, panel.m, panel.m_stride, panel.rows);
    else
      keys_sweep<1, kReverse>(tile, panel.m, panel.m_stride, panel.rows);
    for (int n = 0; n < tokens; ++n)
      for (int j = 0; j < kVectors; ++j) {
        panel.write(pass.read.row(t + n), j, plan.p[t + n] * tile.read[n][j]);
        if constexpr (!kReverse) panel.write(pass.decayed.row(t + n), j, plan.p[t + n] * tile.decayed[n][j]);
      }
    t += tokens;
  }
  panel.multiply(plan.p[pass.steps - 1]);
}

template <class T>
void delta_keys(const DeltaKeysPass<T>& p) noexcept {
  Plan<T> plan(p.scratch, p.steps);
  plan.fold(p.a, p.steps);
  for_panels(p.state, p.u.cols, p.k.cols, p.steps, p.scratch + 5 * p.steps,
             [&]<int kVectors>(const Panel<T, kVectors>& panel) {
               p.q ? run_keys<true>(p, plan, panel) : run_keys<false>(p, plan, panel);
             });
}

template <class T>
void delta_gradients(const DeltaGradients<T>& g) noexcept {
  const int64_t n = g.k.cols, whole = n - n % kLanes<T>;
  T c = g.c;
  for (int64_t t = g.steps - 1; t >= 0; --t) {
    if (g.d_beta) *g.d_beta.row(t) = (g.add_beta ? *g.d_beta.row(t) : T(0)) + dot(g.x.row(t), g.e.row(t), g.x.cols);
    if (!g.read) continue;
    const T *read = g.read.row(t), *decayed = g.decayed.row(t), *k = g.k.row(t);
    if (g.dk) {
      T* y = g.dk.row(t);
      if (g.add_dk) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[i] += read[i] - decayed[i];
      } else {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[i] = read[i] - decayed[i];
      }
    }
    if (!g.d_log_decay) continue;
    const T *q = g.q.row(t), *dq = g.dq.row(t);
    Vec<T> s{};
    for (int64_t i = 0; i < whole; i += kLanes<T>) {
      s = mul_add(load(q + i), load(dq + i), s);
      s = mul_sub_from(load(k + i), load(read + i) + load(decayed + i), s);
    }
    T step = sum_lanes<T>(s);
    for (int64_t i = whole; i < n; ++i) step = mul_sub_from(k[i], read[i] + decayed[i], mul_add(q[i], dq[i], step));
    c += step;
    T* y = g.d_log_decay.row(t);
    *y = (g.add_decay ? *y : T(0)) + (g.fresh && t == 0 ? T(0) : c);
  }
}

}  // namespace

void fill_delta_backward() {
  EFFLLM_SET(delta_keys, delta_keys);
  EFFLLM_SET(delta_gradients, delta_gradients);
}

}  // namespace effllm::EFFLLM_ISA
