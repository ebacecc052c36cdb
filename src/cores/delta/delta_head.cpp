// With S' = a_t S_{t-1}, e_t = v_t - S'^T k_t, u_t = beta_t e_t, S_t = S' + k_t u_t^T, and G_t = d loss / d S_t,
// backward is three passes that keep no states:
//   x_t = G_t^T k_t             backwards, G'_t = G_t - k_t y_t^T with y = beta x,  G_t = a_{t+1} G'_{t+1} + q_t do_t^T
//   dq_t = S_t do_t,  S'_t y_t  forwards, over S^T
//   G_t u_t                     backwards, over G^T
// and then dv = y, dbeta = x.e, dk = G u - S' y. The gradient of log a_t is <S'_t, G'_t>, which grows backwards by
// q.dq - k.(G u + S' y) a token; at the ends of pieces it is anchored at <S_e, a_{e+1} G'_{e+1}> itself, so that
// rounding does not pile up and the gradient of the final state comes in.
#include "cores/delta/delta_head.h"

#include "cores/common/heads.h"
#include "kernels/delta.h"

namespace effllm {
namespace {

template <class T>
Tensor kernel_scratch(int64_t tokens, int64_t rows) {
  return Tensor::dense({5 * tokens + 64 * rows}, dtype_of<T>);
}

template <class T>
class HeadBackward {
 public:
  HeadBackward(const DeltaHead<T>& head, const DeltaHeadGradients<T>& gradients)
      : x_(head),
        g_(gradients),
        tokens_(head.q.rows),
        keys_(head.q.cols),
        values_(head.v.cols),
        state_(keys_, values_) {
    const int64_t longest = x_.chunk > 0 ? x_.chunk : decay_wanted() ? kAnchorDistance : tokens_;
    pieces_ = pieces_of(x_.starts, tokens_, longest);
    scratch_ = kernel_scratch<T>(tokens_, std::max(keys_, values_));
    if (x_.log_decay) {
      decays_ = linear_decays(x_.log_decay, tokens_);
      a_ = decays_.view<T>();
      next_a_ = a_.part(1, tokens_);
    }
    x_rows_ = rows(values_);
    u_rows_ = rows(values_);
    y_ = destination(g_.dv, y_rows_, tokens_, values_);
    if (!keys_wanted()) return;
    dq_ = destination(g_.dq, dq_rows_, tokens_, keys_);
    read_rows_ = rows(keys_);
    decayed_rows_ = rows(keys_);
    if (decay_wanted()) anchors_ = Tensor::dense({tokens_ / longest + 1, keys_ * values_}, dtype_of<T>);
  }

  void run() {
    values();
    if (keys_wanted()) {
      queries();
      keys();
    } else if (g_.d_beta.into) {
      finish({0, tokens_, false, false}, 0);
    }
    deliver(y_rows_, g_.dv);
    deliver(dq_rows_, g_.dq);
  }

 private:
  Tensor rows(int64_t n) const { return Tensor::empty({tokens_, n}, dtype_of<T>); }
  bool decay_wanted() const { return static_cast<bool>(g_.d_log_decay.into); }
  bool keys_wanted() const { return g_.dq.into || g_.dk.into || decay_wanted(); }
  // Pieces whose end a gradient flows back into.
  bool anchored(const Piece& p) const { return decay_wanted() && !p.closes && (p.to < tokens_ || g_.d_state); }

  void values() {
    state_.set(g_.d_state, false);
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      const auto part = [&](const auto& x) { return cut(x, p->from, p->to, true); };
      kernel::delta_values<T>({p->to - p->from, part(x_.q), part(x_.k), part(g_.d_o), part(g_.e), part(next_a_),
                               part(x_.beta), part(x_rows_.view<T>()), part(y_), part(u_rows_.view<T>()), state_.data(),
                               scratch_.data<T>()});
    }
    if (!g_.d_state0.into) return;
    if (!continues(x_.starts)) state_.clear();
    state_.put(g_.d_state0, [&](int64_t) { return a_ ? *a_.data : T(1); });
  }

  DeltaKeysPass<T> keys_pass(const Piece& p, bool reverse) const {
    const auto part = [&](const auto& x) { return cut(x, p.from, p.to, reverse); };
    const View<const T> u = u_rows_.view<T>(), y = y_, none{};
    return {p.to - p.from,
            part(u),
            part(y),
            part(g_.d_o),
            reverse ? part(x_.q) : none,
            part(x_.k),
            reverse ? part(next_a_) : part(a_),
            reverse ? part(read_rows_.view<T>()) : part(dq_),
            reverse ? View<T>{} : part(decayed_rows_.view<T>()),
            state_.data(),
            scratch_.data<T>()};
  }

  void queries() {
    state_.set(g_.state0, true);
    int64_t anchor = 0;
    for (const Piece& p : pieces_) {
      if (p.fresh) state_.clear();
      kernel::delta_keys<T>(keys_pass(p, false));
      if (anchored(p)) std::copy_n(state_.data(), state_.size(), anchors_.view<T>().row(anchor++));
    }
  }

  void keys() {
    state_.set(g_.d_state, true);
    int64_t anchor = 0;
    for (const Piece& p : pieces_) anchor += anchored(p);
    T c = 0;
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      if (decay_wanted()) c = anchored(*p) ? at_anchor(anchors_.view<T>().row(--anchor), p->to) : T(0);
      kernel::delta_keys<T>(keys_pass(*p, true));
      finish(*p, c);
    }
  }

  // <S_e, a_{e+1} G'_{e+1}>, S_e as [dv][dk].
  T at_anchor(const T* s, int64_t end) const { return dot<T>(s, state_.data(), state_.size()) * *a_.row(end); }

  void finish(const Piece& p, T c) const {
    const auto part = [&](const auto& x) { return cut(x, p.from, p.to); };
    const auto own = [&](const Tensor& x) { return part(view_or_null<T>(x)); };
    kernel::delta_gradients<T>({p.to - p.from, part(x_.q), part(x_.k), part(dq_), own(read_rows_), own(decayed_rows_),
                                own(x_rows_), part(g_.e), part(g_.dk.into), part(g_.d_beta.into),
                                part(g_.d_log_decay.into), g_.dk.add, g_.d_beta.add, g_.d_log_decay.add, p.fresh, c});
  }

  const DeltaHead<T>& x_;
  const DeltaHeadGradients<T>& g_;
  int64_t tokens_, keys_, values_;
  std::vector<Piece> pieces_;
  PassState<T> state_;
  Tensor scratch_, decays_, anchors_;
  Tensor x_rows_, u_rows_, y_rows_, dq_rows_, read_rows_, decayed_rows_;
  View<const T> a_, next_a_;  // [T+1, 1], the last row 1, and the same from the second row on; null without decay
  View<T> y_, dq_;
};

}  // namespace

template <class T>
void delta_head_forward(const DeltaHead<T>& head, View<T> o, View<T> e, T* state) {
  const Tensor decays = head.log_decay ? linear_decays(head.log_decay, head.q.rows) : Tensor();
  const View<const T> a = view_or_null<T>(decays);
  const int64_t tokens = head.q.rows, keys = head.q.cols;
  const Tensor scratch = kernel_scratch<T>(tokens, keys);
  for (const Piece& p : pieces_of(head.starts, tokens, head.chunk > 0 ? head.chunk : tokens)) {
    if (p.fresh) std::fill_n(state, keys * head.v.cols, T(0));
    const auto part = [&](const auto& x) { return cut(x, p.from, p.to); };
    kernel::delta<T>({p.to - p.from, part(head.q), part(head.k), part(head.v), part(a), part(head.beta), part(o),
                      part(e), state, scratch.data<T>()});
  }
}

template <class T>
void delta_head_backward(const DeltaHead<T>& head, const DeltaHeadGradients<T>& gradients) {
  HeadBackward<T>(head, gradients).run();
}

template void delta_head_forward(const DeltaHead<float>&, View<float>, View<float>, float*);
template void delta_head_forward(const DeltaHead<double>&, View<double>, View<double>, double*);
template void delta_head_backward(const DeltaHead<float>&, const DeltaHeadGradients<float>&);
template void delta_head_backward(const DeltaHead<double>&, const DeltaHeadGradients<double>&);

}  // namespace effllm
