// The delta rule in time, and its mirror image in backward, for one head. A tile of two tokens costs one sweep over a
// panel of the state: what the tile before owes is added, and what this one reads of M is summed. What the tokens of a
// tile do to each other needs products of their q and k only, so the errors e follow in registers:
//   e_t = v_t - p_t (M^T k_t + sum_s (k_s.k_t) u_s),   u_t = beta_t e_t / p_t,   o_t = p_t (M^T q_t + sum_s (k_s.q_t)
//   u_s)
#include "kernels/delta.h"
#include "kernels/isa/delta_tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T, int kVectors>
class Forward {
 public:
  Forward(const DeltaPass<T>& pass, const Plan<T>& plan, const Panel<T, kVectors>& panel)
      : pass_(pass), plan_(plan), panel_(panel) {}

  void run() {
    int owed = 0;
    for (int64_t t = 0; t < pass_.steps;) {
      const int tokens = plan_.tile(t, pass_.steps);
      if (plan_.enter[t] != T(1)) take_up(plan_.enter[t], owed);
      for (int u = 0; u < tokens; ++u) {
        w_.x[2 * u] = pass_.k.row(t + u);
        w_.x[2 * u + 1] = pass_.q.row(t + u);
      }
      if (owed == 2)
        tokens == 2 ? go<2, 4>() : go<2, 2>();
      else if (owed == 1)
        tokens == 2 ? go<1, 4>() : go<1, 2>();
      else
        tokens == 2 ? go<0, 4>() : go<0, 2>();
      panel_.whole() ? solve<true>(t, tokens) : solve<false>(t, tokens);
      for (int u = 0; u < tokens; ++u) w_.c[u] = pass_.k.row(t + u);
      owed = tokens;
      t += tokens;
    }
    owed == 2 ? go<2, 0>() : go<1, 0>();
    panel_.multiply(plan_.p[pass_.steps - 1]);
  }

 private:
  template <int kOwed, int kReads>
  void go() {
    sweep<kOwed, kReads>(w_, panel_.m, panel_.m_stride, panel_.rows);
  }
  void take_up(T factor, int owed) {
    panel_.multiply(factor);
    for (int u = 0; u < owed; ++u)
      for (int j = 0; j < kVectors; ++j) w_.d[u][j] *= factor;
  }
  template <bool kWhole>
  [[gnu::noinline]] void solve(int64_t t, int tokens) {
    const bool keep = static_cast<bool>(pass_.e);
    for (int u = 0; u < tokens; ++u) {
      const int64_t i = t + u;
      const T* v = pass_.v.row(i);
      T *o_row = pass_.o.row(i), *e_row = keep ? pass_.e.row(i) : nullptr;
      const T p = plan_.p[i], rate = *pass_.beta.row(i) / p, own = plan_.own[i], cross = plan_.cross[i],
              before = plan_.before[i];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        Vec<T> held = w_.r[2 * u][j], o = w_.r[2 * u + 1][j];
        if (u > 0) {
          held = mul_add(before, w_.d[0][j], held);
          o = mul_add(cross, w_.d[0][j], o);
        }
        const Vec<T> e = mul_sub_from(p, held, panel_.template read<kWhole>(v, j));
        if (keep) panel_.template write<kWhole>(e_row, j, e);
        w_.d[u][j] = rate * e;
        o = mul_add(own, w_.d[u][j], o);
        panel_.template write<kWhole>(o_row, j, p * o);
      }
    }
  }

  const DeltaPass<T>& pass_;
  const Plan<T>& plan_;
  const Panel<T, kVectors>& panel_;
  Sweep<T, kVectors> w_;
};

// x_t = p_t (M^T k_t + sum_s<=t (q_s.k_t) d_o_s / p_s - sum_s<t (k_s.k_t) y_s / p_s).
template <class T, int kVectors>
class Values {
 public:
  Values(const DeltaValuesPass<T>& pass, const Plan<T>& plan, const Panel<T, kVectors>& panel)
      : pass_(pass), plan_(plan), panel_(panel) {}

  void run() {
    int owed = 0;
    for (int64_t t = 0; t < pass_.steps;) {
      const int tokens = plan_.tile(t, pass_.steps);
      if (plan_.enter[t] != T(1)) take_up(plan_.enter[t], owed);
      for (int u = 0; u < tokens; ++u) w_.x[u] = pass_.k.row(t + u);
      if (owed == 2)
        tokens == 2 ? go<4, 2>() : go<4, 1>();
      else if (owed == 1)
        tokens == 2 ? go<2, 2>() : go<2, 1>();
      else
        tokens == 2 ? go<0, 2>() : go<0, 1>();
      panel_.whole() ? solve<true>(t, tokens) : solve<false>(t, tokens);
      for (int u = 0; u < tokens; ++u) {
        w_.c[2 * u] = pass_.q.row(t + u);
        w_.c[2 * u + 1] = pass_.k.row(t + u);
      }
      owed = tokens;
      t += tokens;
    }
    owed == 2 ? go<4, 0>() : go<2, 0>();
    panel_.multiply(plan_.p[pass_.steps - 1]);
  }

 private:
  template <int kOwed, int kReads>
  void go() {
    sweep<kOwed, kReads>(w_, panel_.m, panel_.m_stride, panel_.rows);
  }
  void take_up(T factor, int owed) {
    panel_.multiply(factor);
    for (int u = 0; u < 2 * owed; ++u)
      for (int j = 0; j < kVectors; ++j) w_.d[u][j] *= factor;
  }
  template <bool kWhole>
  [[gnu::noinline]] void solve(int64_t t, int tokens) {
    for (int u = 0; u < tokens; ++u) {
      const int64_t i = t + u;
      const T p = plan_.p[i], inverse = T(1) / p, beta = *pass_.beta.row(i), own = plan_.own[i], cross = plan_.cross[i],
              before = plan_.before[i];
#pragma GCC unroll 4
      for (int j = 0; j < kVectors; ++j) {
        const Vec<T> d_o = inverse * panel_.template read<kWhole>(pass_.d_o.row(i), j);
        Vec<T> x = mul_add(own, d_o, w_.r[u][j]);
        if (u > 0) {
          x = mul_add(cross, w_.d[0][j], x);
          x = mul_add(before, w_.d[1][j], x);
        }
        panel_.template write<kWhole>(pass_.x.row(i), j, p * x);
        panel_.template write<kWhole>(pass_.y.row(i), j, beta * (p * x));
        panel_.template write<kWhole>(pass_.u.row(i), j, beta * panel_.template read<kWhole>(pass_.e.row(i), j));
        w_.d[2 * u][j] = d_o;
        w_.d[2 * u + 1][j] = -beta * x;
      }
    }
  }

  const DeltaValuesPass<T>& pass_;
  const Plan<T>& plan_;
  const Panel<T, kVectors>& panel_;
  Sweep<T, kVectors> w_;
};

template <class T>
void delta(const DeltaPass<T>& p) noexcept {
  Plan<T> plan(p.scratch, p.steps);
  plan.fold(p.a, p.steps);
  plan.products(p.q, p.k, p.k, p.steps);
  for_panels(p.state, p.q.cols, p.v.cols, p.steps, p.scratch + 5 * p.steps,
             [&]<int kVectors>(const Panel<T, kVectors>& panel) { Forward<T, kVectors>(p, plan, panel).run(); });
}

template <class T>
void delta_values(const DeltaValuesPass<T>& p) noexcept {
  Plan<T> plan(p.scratch, p.steps);
  plan.fold(p.a, p.steps);
  plan.products(p.k, p.q, p.k, p.steps);
  for_panels(p.state, p.q.cols, p.d_o.cols, p.steps, p.scratch + 5 * p.steps,
             [&]<int kVectors>(const Panel<T, kVectors>& panel) { Values<T, kVectors>(p, plan, panel).run(); });
}

}  // namespace

void fill_delta() {
  EFFLLM_SET(delta, delta);
  EFFLLM_SET(delta_values, delta_values);
}

}  // namespace effllm::EFFLLM_ISA
