// The delta rule in time, and its mirror image in backward, for one head. A tile of two tokens costs one sweep over a
// panel of the state: what the tile before owes is added, and what this one reads of M is summed. What the tokens of a
// tile do to each other needs products of their q and k only, so the errors e follow in registers:
//   e_t = v_t - p_t (M^T k_t + sum_s (k_s.k_t) u_s),   u_t = beta_t e_t / p_t,   o_t = p_t (M^T q_t + sum_s (k_s.q_t)
//   u_s)
#include "kernels/delta.h"
#include "kernels/isa/delta_tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

// What the tokens of a tile do to each other, from what they read of the state: w.r in, w.d and all results out.
template <bool kWhole, class T, int kVectors>
[[gnu::noinline]] void solve(const DeltaPass<T>& pass, const Plan<T>& plan, const Panel<T, kVectors>& panel,
                             Sweep<T, kVectors>& w, int64_t t, int tokens) {
  const bool keep = static_cast<bool>(pass.e);
  for (int u = 0; u < tokens; ++u) {
    const int64_t i = t + u;
    const T* v = pass.v.row(i);
    T *o_row = pass.o.row(i), *e_row = keep ? pass.e.row(i) : nullptr;
    const T p = plan.p[i], rate = *pass.beta.row(i) / p, own = plan.own[i], cross = plan.cross[i],
            before = plan.before[i];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      Vec<T> held = w.r[2 * u][j], o = w.r[2 * u + 1][j];
      if (u > 0) {
        held = mul_add(before, w.d[0][j], held);
        o = mul_add(cross, w.d[0][j], o);
      }
      const Vec<T> e = mul_sub_from(p, held, panel.template read<kWhole>(v, j));
      if (keep) panel.template write<kWhole>(e_row, j, e);
      w.d[u][j] = rate * e;
      o = mul_add(own, w.d[u][j], o);
      panel.template write<kWhole>(o_row, j, p * o);
    }
  }
}

// x_t = p_t (M^T k_t + sum_s<=t (q_s.k_t) d_o_s / p_s - sum_s<t (k_s.k_t) y_s / p_s).
template <bool kWhole, class T, int kVectors>
[[gnu::noinline]] void solve(const DeltaValuesPass<T>& pass, const Plan<T>& plan, const Panel<T, kVectors>& panel,
                             Sweep<T, kVectors>& w, int64_t t, int tokens) {
  for (int u = 0; u < tokens; ++u) {
    const int64_t i = t + u;
    const T p = plan.p[i], inverse = T(1) / p, beta = *pass.beta.row(i), own = plan.own[i], cross = plan.cross[i],
            before = plan.before[i];
#pragma GCC unroll 4
    for (int j = 0; j < kVectors; ++j) {
      const Vec<T> d_o = inverse * panel.template read<kWhole>(pass.d_o.row(i), j);
      Vec<T> x = mul_add(own, d_o, w.r[u][j]);
      if (u > 0) {
        x = mul_add(cross, w.d[0][j], x);
        x = mul_add(before, w.d[1][j], x);
      }
      panel.template write<kWhole>(pass.x.row(i), j, p * x);
      panel.template write<kWhole>(pass.y.row(i), j, beta * (p * x));
      panel.template write<kWhole>(pass.u.row(i), j, beta * panel.template read<kWhole>(pass.e.row(i), j));
      w.d[2 * u][j] = d_o;
      w.d[2 * u + 1][j] = -beta * x;
    }
  }
}

// All tiles over one panel. A token reads the state by its rows of `reads` and owes it updates by those of `owes`.
template <int kReads, int kOwes, class Pass, class T, int kVectors>
void run_tiles(const Pass& pass, const Plan<T>& plan, const Panel<T, kVectors>& panel,
               const View<const T> (&reads)[kReads], const View<const T> (&owes)[kOwes]) {
  Sweep<T, kVectors> w;
  const auto go = [&]<int kOwing, int kTokens>() {
    sweep<kOwing * kOwes, kTokens * kReads>(w, panel.m, panel.m_stride, panel.rows);
  };
  int owed = 0;
  for (int64_t t = 0; t < pass.steps;) {
    const int tokens = plan.tile(t, pass.steps);
    if (const T factor = plan.enter[t]; factor != T(1)) {
      panel.multiply(factor);
      for (int u = 0; u < kOwes * owed; ++u)
        for (int j = 0; j < kVectors; ++j) w.d[u][j] *= factor;
    }
    for (int u = 0; u < tokens; ++u)
      for (int i = 0; i < kReads; ++i) w.x[kReads * u + i] = reads[i].row(t + u);
    if (owed == 2)
      tokens == 2 ? go.template operator()<2, 2>() : go.template operator()<2, 1>();
    else if (owed == 1)
      tokens == 2 ? go.template operator()<1, 2>() : go.template operator()<1, 1>();
    else
      tokens == 2 ? go.template operator()<0, 2>() : go.template operator()<0, 1>();
    panel.whole() ? solve<true>(pass, plan, panel, w, t, tokens) : solve<false>(pass, plan, panel, w, t, tokens);
    for (int u = 0; u < tokens; ++u)
      for (int i = 0; i < kOwes; ++i) w.c[kOwes * u + i] = owes[i].row(t + u);
    owed = tokens;
    t += tokens;
  }
  owed == 2 ? go.template operator()<2, 0>() : go.template operator()<1, 0>();
  panel.multiply(plan.p[pass.steps - 1]);
}

template <class T>
void delta(const DeltaPass<T>& p) noexcept {
  Plan<T> plan(p.scratch, p.steps);
  plan.fold(p.a, p.steps);
  plan.products(p.q, p.k, p.k, p.steps);
  for_panels(p.state, p.q.cols, p.v.cols, p.steps, p.scratch + 5 * p.steps,
             [&]<int kVectors>(const Panel<T, kVectors>& panel) {
               run_tiles<2, 1>(p, plan, panel, {p.k, p.q}, {p.k});
             });
}

template <class T>
void delta_values(const DeltaValuesPass<T>& p) noexcept {
  Plan<T> plan(p.scratch, p.steps);
  plan.fold(p.a, p.steps);
  plan.products(p.k, p.q, p.k, p.steps);
  for_panels(p.state, p.q.cols, p.d_o.cols, p.steps, p.scratch + 5 * p.steps,
             [&]<int kVectors>(const Panel<T, kVectors>& panel) {
               run_tiles<1, 2>(p, plan, panel, {p.k}, {p.q, p.k});
             });
}

}  // namespace

void fill_delta() {
  EFFLLM_SET(delta, delta);
  EFFLLM_SET(delta_values, delta_values);
}

}  // namespace effllm::EFFLLM_ISA
