// With r_t = S_{t-1}^T a_t, G_t = d loss / d S_t and w_t = G_t^T b_t, backward is the forward recurrence three times:
//   dv_t = G_t^T k_t,  w_t                    backwards, G_t = d_{t+1} G_{t+1} + a_{t+1} w_{t+1}^T + q_t do_t^T
//   dq_t = S_t do_t,  da_t = S_{t-1} w_t      forwards, over S^T
//   dk_t = G_t v_t,  db_t = G_t r_t           backwards, over G^T
// The gradient of log d_t is the row sum of d_t S_{t-1} * G_t, which grows backwards by a * da of the token after, and
// q * dq - b * db - k * dk of its own; at the ends of pieces it is anchored at the states themselves, so that rounding
// does not pile up and the gradient of the final state comes in.
#include "recurrence/dplr_head.h"

#include "recurrence/heads.h"

namespace effllm {
namespace {

template <class T>
class HeadBackward {
 public:
  HeadBackward(const DplrHead<T>& head, const DplrHeadGradients<T>& gradients)
      : x_(head),
        g_(gradients),
        tokens_(head.q.rows),
        keys_(head.q.cols),
        values_(head.v.cols),
        state_(keys_, values_) {
    const int64_t longest = x_.chunk > 0 ? x_.chunk : decay_wanted() ? kAnchorDistance : tokens_;
    pieces_ = pieces_of(x_.starts, tokens_, longest);
    scratch_ = Tensor::dense({64 * std::max(keys_, values_)}, dtype_of<T>);
    if (x_.decay != Decay::none) {
      decays_ = linear_decays(x_.log_decay, tokens_);
      d_ = decays_.view<T>();
      next_d_ = d_.part(1, tokens_);
    }
    next_a_ = x_.a.part(1, tokens_);
    w_rows_ = rows(values_);
    w_ = w_rows_.view<T>();
    dv_ = destination(g_.dv, dv_rows_, tokens_, values_);
    dq_ = destination(g_.dq, dq_rows_, tokens_, keys_);
    dk_ = destination(g_.dk, dk_rows_, tokens_, keys_);
    da_ = destination(g_.da, da_rows_, tokens_, keys_);
    db_ = destination(g_.db, db_rows_, tokens_, keys_);
    if (!decay_wanted()) return;
    anchors_ = Tensor::dense({tokens_ / longest + 1, keys_ * values_}, dtype_of<T>);
    running_ = Tensor::dense({keys_}, dtype_of<T>);
  }

  void run() {
    values();
    queries();
    keys();
    deliver(dv_rows_, g_.dv);
    deliver(dq_rows_, g_.dq);
    deliver(dk_rows_, g_.dk);
    deliver(da_rows_, g_.da);
    deliver(db_rows_, g_.db);
  }

 private:
  Tensor rows(int64_t n) const { return Tensor::empty({tokens_, n}, dtype_of<T>); }
  bool decay_wanted() const { return static_cast<bool>(g_.d_log_decay.into); }
  // Pieces whose end a gradient flows back into.
  bool anchored(const Piece& p) const { return decay_wanted() && !p.closes && (p.to < tokens_ || g_.d_state); }
  Decay transposed_decay() const { return x_.decay == Decay::key ? Decay::value : x_.decay; }

  // Tokens [from, to) of a pass against time. f(from, to, last) runs them; where no token of the document follows, the
  // last one goes alone, without what the next would have read.
  template <class F>
  void backwards(const Piece& p, const F& f) {
    const bool last = p.closes || p.to == tokens_;
    if (last) f(p.to - 1, p.to, true);
    if (!last || p.to - 1 > p.from) f(p.from, last ? p.to - 1 : p.to, false);
  }

  void values() {
    state_.set(g_.d_state, false);
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      backwards(*p, [&](int64_t from, int64_t to, bool last) {
        const auto part = [&](const auto& x) { return cut(x, from, to, true); };
        kernels<T>().dplr({to - from, part(x_.k), part(x_.q), part(g_.d_o), part(last ? x_.q : next_a_), part(x_.b),
                           part(next_d_), x_.decay, last ? nullptr : w_.row(to), nullptr, part(dv_), part(w_), nullptr,
                           state_.data(), scratch_.data<T>()});
      });
    }
    if (!g_.d_state0.into) return;
    const bool reached = continues(x_.starts);
    const T* m = state_.data();
    for (int64_t i = 0; i < keys_; ++i) {
      const T d = d_ ? d_.data[x_.decay == Decay::key ? i : 0] : T(1);
      T* y = g_.d_state0.into.row(i);
      for (int64_t j = 0; j < values_; ++j) {
        const T now = reached ? d * m[i * values_ + j] + x_.a.data[i] * w_.data[j] : T(0);
        y[j] = (g_.d_state0.add ? y[j] : T(0)) + now;
      }
    }
  }

  void queries() {
    state_.set(g_.state0, true);
    int64_t anchor = 0;
    for (const Piece& p : pieces_) {
      if (p.fresh) state_.clear();
      const auto part = [&](const auto& x) { return cut(x, p.from, p.to); };
      kernels<T>().dplr_keys({p.to - p.from, part(g_.r), part(x_.v), part(g_.d_o), part(View<const T>(w_)), part(x_.b),
                              part(x_.k), part(d_), transposed_decay(), true, part(dq_), part(da_), state_.data(),
                              scratch_.data<T>()});
      if (anchored(p)) std::copy_n(state_.data(), state_.size(), anchors_.view<T>().row(anchor++));
    }
  }

  void keys() {
    const Tensor zero = Tensor::zeros({keys_}, dtype_of<T>);
    const View<const T> next_w = w_.part(1, tokens_);
    state_.set(g_.d_state, true);
    int64_t anchor = 0;
    for (const Piece& p : pieces_) anchor += anchored(p);
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      if (decay_wanted()) start_running(anchored(*p) ? anchors_.view<T>().row(--anchor) : nullptr, p->to);
      backwards(*p, [&](int64_t from, int64_t to, bool last) {
        const auto part = [&](const auto& x) { return cut(x, from, to, true); };
        kernels<T>().dplr_keys({to - from, part(last ? g_.d_o : next_w), part(g_.d_o), part(x_.v), part(g_.r),
                                last ? View<const T>(zero.view<T>()) : part(next_a_), part(x_.q), part(next_d_),
                                transposed_decay(), false, part(dk_), part(db_), state_.data(), scratch_.data<T>()});
      });
      if (decay_wanted()) decay_gradient(*p);
    }
  }

  // The running sums at the end of a piece, over values of S_e * (what G_e holds of later tokens); anchor: S_e as
  // [dv][dk].
  void start_running(const T* anchor, int64_t end) {
    T* c = running_.data<T>();
    const T* m = state_.data();
    std::fill_n(c, keys_, T(0));
    if (!anchor) return;
    for (int64_t j = 0; j < values_; ++j)
      for (int64_t i = 0; i < keys_; ++i) c[i] += anchor[j * keys_ + i] * m[j * keys_ + i];
    for (int64_t i = 0; i < keys_; ++i) {
      c[i] *= d_.row(end)[x_.decay == Decay::key ? i : 0];
      if (end < tokens_) c[i] += x_.a.row(end)[i] * da_.row(end)[i];
    }
  }

  void decay_gradient(const Piece& p) {
    T* c = running_.data<T>();
    for (int64_t t = p.to - 1; t >= p.from; --t) {
      const T *q = x_.q.row(t), *k = x_.k.row(t), *b = x_.b.row(t), *dq = dq_.row(t), *dk = dk_.row(t),
              *db = db_.row(t);
      const bool goes_on = t + 1 < p.to;
      for (int64_t i = 0; i < keys_; ++i) {
        if (goes_on) c[i] += x_.a.row(t + 1)[i] * da_.row(t + 1)[i];
        c[i] += q[i] * dq[i] - b[i] * db[i] - k[i] * dk[i];
      }
      const bool nothing = p.fresh && t == p.from, add = g_.d_log_decay.add;
      T *y = g_.d_log_decay.into.row(t), sum = 0;
      for (int64_t i = 0; i < keys_; ++i) {
        sum += c[i];
        if (x_.decay == Decay::key) y[i] = (add ? y[i] : T(0)) + (nothing ? T(0) : c[i]);
      }
      if (x_.decay == Decay::scalar) *y = (add ? *y : T(0)) + (nothing ? T(0) : sum);
    }
  }

  const DplrHead<T>& x_;
  const DplrHeadGradients<T>& g_;
  int64_t tokens_, keys_, values_;
  std::vector<Piece> pieces_;
  PassState<T> state_;
  Tensor scratch_, decays_, anchors_, running_;
  Tensor w_rows_, dv_rows_, dq_rows_, dk_rows_, da_rows_, db_rows_;
  View<const T> d_, next_d_, next_a_;  // d_ [T+1, 1 or dk], the last row 1; null without decay
  View<T> w_, dv_, dq_, dk_, da_, db_;
};

}  // namespace

template <class T>
void dplr_head_forward(const DplrHead<T>& head, View<T> o, View<T> r, T* state) {
  Tensor decays;
  View<const T> d;
  if (head.decay != Decay::none) {
    decays = linear_decays(head.log_decay, head.q.rows);
    d = decays.view<T>();
  }
  const int64_t tokens = head.q.rows, keys = head.q.cols;
  const Tensor scratch = Tensor::dense({64 * keys}, dtype_of<T>);
  for (const Piece& p : pieces_of(head.starts, tokens, head.chunk > 0 ? head.chunk : tokens)) {
    if (p.fresh) std::fill_n(state, keys * head.v.cols, T(0));
    const auto part = [&](const auto& x) { return cut(x, p.from, p.to); };
    const int64_t rest = p.to - p.from - 1;
    kernels<T>().dplr({p.to - p.from, part(head.q), part(head.k), part(head.v), part(head.b),
                       head.a.part(p.from + 1, rest), part(d), head.decay, nullptr, head.a.row(p.from), part(o),
                       r ? r.part(p.from + 1, rest) : r, r ? r.row(p.from) : nullptr, state, scratch.data<T>()});
  }
}

template <class T>
void dplr_head_backward(const DplrHead<T>& head, const DplrHeadGradients<T>& gradients) {
  HeadBackward<T>(head, gradients).run();
}

template void dplr_head_forward(const DplrHead<float>&, View<float>, View<float>, float*);
template void dplr_head_forward(const DplrHead<double>&, View<double>, View<double>, double*);
template void dplr_head_backward(const DplrHead<float>&, const DplrHeadGradients<float>&);
template void dplr_head_backward(const DplrHead<double>&, const DplrHeadGradients<double>&);

}  // namespace effllm
