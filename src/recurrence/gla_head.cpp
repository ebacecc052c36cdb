// With S_t = a_t S_{t-1} + k_t v_t^T and G_t = d loss / d S_t, backward is the forward recurrence three times:
//   dq_t = S_t do_t     forwards, over S^T
//   dv_t = G_t^T k_t    backwards, G_t = a_{t+1} G_{t+1} + q_t do_t^T
//   dk_t = G_t v_t      backwards, over G^T
// An exclusive read takes S_{t-1} in the first line; G_t then holds q do^T of the tokens after t, which is the
// exclusive read of N_t = a_t N_{t+1} + q_t do_t^T. The gradient of log a_t is the row sum of a_t S_{t-1} * G_t, which
// grows backwards by q * dq - k * dk a token; at the ends of pieces it is anchored at S_e * a_{e+1} G_{e+1} itself, so
// that rounding does not pile up and the gradient of the final state comes in. Of a value decay it is the column sum,
// which grows by o * do - v * dv.
#include "recurrence/gla_head.h"

#include "recurrence/gla_pass.h"
#include "recurrence/heads.h"

namespace effllm {
namespace {

template <class T>
class HeadBackward {
 public:
  HeadBackward(const GlaHead<T>& head, const GlaHeadGradients<T>& gradients)
      : x_(head),
        g_(gradients),
        tokens_(head.q.rows),
        keys_(head.q.cols),
        values_(head.v.cols),
        state_(keys_, values_) {
    const int64_t longest = x_.chunk > 0 ? x_.chunk : kAnchorDistance;
    pieces_ = pieces_of(x_.starts, tokens_, decay_wanted() ? longest : tokens_);
    if (x_.decay != Decay::none) {
      decays_ = linear_decays(x_.log_decay, tokens_);
      a_ = decays_.view<T>();
    }
    if (x_.log_value_decay) {
      value_decays_ = linear_decays(x_.log_value_decay, tokens_);
      other_ = value_decays_.view<T>();
    }
    if (!decay_wanted()) return;
    anchors_ = Tensor::dense({tokens_ / longest + 1, keys_ * values_}, dtype_of<T>);
    running_ = Tensor::dense({std::max(keys_, values_)}, dtype_of<T>);
  }

  void run() {
    if (g_.dq.into || decay_wanted()) queries();  // leaves the anchors
    if (g_.dv.into || g_.d_state0.into || value_decay_wanted()) values();
    if (g_.dk.into || key_decay_wanted()) keys();
    deliver(dq_scratch_, g_.dq);
    deliver(dk_scratch_, g_.dk);
    deliver(dv_scratch_, g_.dv);
  }

 private:
  bool decay_wanted() const { return g_.d_log_decay.into || g_.d_log_value_decay.into; }
  bool value_decay_wanted() const { return static_cast<bool>(d_value_decay().into); }
  bool key_decay_wanted() const { return !by_value() && g_.d_log_decay.into; }  // or that of a scalar decay
  const GradientView<T>& d_value_decay() const { return by_value() ? g_.d_log_decay : g_.d_log_value_decay; }
  bool by_value() const { return x_.decay == Decay::value; }
  // The log decay's gradient needs some of the others alone, not added to what their destinations hold.
  GradientView<T> destination(const GradientView<T>& g, bool alone, int64_t cols, Tensor& scratch) {
    if (!alone || (g.into && !g.add)) return g;
    scratch = Tensor::dense({tokens_, cols}, dtype_of<T>);
    return {scratch.view<T>(), false};
  }
  GlaPass<T> pass(View<const T> x1, View<const T> x2, View<const T> x3, View<const T> a, Decay decay,
                  const GradientView<T>& y) const {
    return {tokens_, x1, x2, x3, a, decay, x_.exclusive, y.into, y.add, state_.data()};
  }
  Decay transposed_decay() const { return x_.decay == Decay::key ? Decay::value : by_value() ? Decay::key : x_.decay; }
  // What decays the gradient on its way back to token t: a_{t+1}, or a_t before an exclusive read.
  View<const T> reverse_decays(View<const T> a) const { return a ? a.part(x_.exclusive ? 0 : 1, tokens_) : a; }
  // Pieces whose end a gradient flows back into.
  bool anchored(const Piece& p) const { return decay_wanted() && !p.closes && (p.to < tokens_ || g_.d_state); }

  void queries() {
    dq_ = destination(g_.dq, key_decay_wanted(), keys_, dq_scratch_);
    const GlaPass<T> forwards = pass(g_.d_o, x_.v, x_.k, a_, transposed_decay(), dq_);
    state_.set(g_.state0, true);
    int64_t anchor = 0;
    for (const Piece& p : pieces_) {
      if (p.fresh) state_.clear();
      run_tokens(forwards, other_, p.from, p.to, false);
      if (anchored(p)) std::copy_n(state_.data(), state_.size(), anchors_.view<T>().row(anchor++));
    }
  }

  void values() {
    dv_ = destination(g_.dv, value_decay_wanted(), values_, dv_scratch_);
    const GlaPass<T> backwards = pass(x_.k, x_.q, g_.d_o, reverse_decays(a_), x_.decay, dv_);
    const bool decay = value_decay_wanted();
    state_.set(g_.d_state, false);
    int64_t anchor = decay ? anchors_in_use() : 0;
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      if (decay) start_running(anchored(*p) ? anchors_.view<T>().row(--anchor) : nullptr, p->to, true);
      run_tokens(backwards, reverse_decays(other_), p->from, p->to, true);
      if (decay) decay_gradient(*p, g_.o, g_.d_o, x_.v, dv_.into, d_value_decay());
    }
    if (!g_.d_state0.into) return;
    if (!continues(x_.starts)) state_.clear();
    const T* m = state_.data();
    for (int64_t i = 0; i < keys_; ++i) {
      T* y = g_.d_state0.into.row(i);
      for (int64_t j = 0; j < values_; ++j) {
        const T a = x_.exclusive ? T(1) : decay_at(0, i, j);
        y[j] = (g_.d_state0.add ? y[j] : T(0)) + a * m[i * values_ + j];
      }
    }
  }

  void keys() {
    dk_ = destination(g_.dk, key_decay_wanted(), keys_, dk_scratch_);
    const GlaPass<T> backwards = pass(x_.v, g_.d_o, x_.q, reverse_decays(a_), transposed_decay(), dk_);
    const bool decay = key_decay_wanted();
    state_.set(g_.d_state, true);
    int64_t anchor = decay ? anchors_in_use() : 0;
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      if (decay) start_running(anchored(*p) ? anchors_.view<T>().row(--anchor) : nullptr, p->to, false);
      run_tokens(backwards, reverse_decays(other_), p->from, p->to, true);
      if (!decay) continue;
      x_.decay == Decay::key ? decay_gradient(*p, x_.q, dq_.into, x_.k, dk_.into, g_.d_log_decay)
                             : scalar_decay_gradient(*p);
    }
  }

  int64_t anchors_in_use() const {
    int64_t n = 0;
    for (const Piece& p : pieces_) n += anchored(p);
    return n;
  }

  // What decays element (key d, value j) of the state at row t of the decays.
  T decay_at(int64_t t, int64_t d, int64_t j) const {
    const T a = a_ ? a_.row(t)[x_.decay == Decay::key ? d : by_value() ? j : 0] : T(1);
    return other_ ? a * other_.row(t)[j] : a;
  }

  // The running sums at the end of a piece, of S_e * (a_{e+1} G_{e+1}) over values, or over keys for a value decay.
  // anchor: S_e as [dv][dk]; the state is [dv][dk], or [dk][dv] for a value decay.
  void start_running(const T* anchor, int64_t end, bool over_keys) {
    T* c = running_.data<T>();
    const T* m = state_.data();
    std::fill_n(c, running_.numel(), T(0));
    if (!anchor) return;
    for (int64_t j = 0; j < values_; ++j)
      for (int64_t d = 0; d < keys_; ++d) {
        const T product = anchor[j * keys_ + d] * m[over_keys ? d * values_ + j : j * keys_ + d];
        c[over_keys ? j : d] += x_.exclusive ? product : decay_at(end, d, j) * product;
      }
  }

  // Of a key decay from what reads (q, dq) and writes (k, dk); of a value decay from (o, do) and (v, dv).
  void decay_gradient(const Piece& p, View<const T> read, View<const T> d_read, View<const T> write,
                      View<const T> d_write, const GradientView<T>& d_log_decay) {
    const bool add = d_log_decay.add;
    const int64_t n = read.cols;
    T* c = running_.data<T>();
    for (int64_t t = p.to - 1; t >= p.from; --t) {
      const T *q = read.row(t), *dq = d_read.row(t), *k = write.row(t), *dk = d_write.row(t);
      T* y = d_log_decay.into.row(t);
      if (p.fresh && t == p.from) {  // nothing was there to decay
        for (int64_t d = 0; d < n; ++d) y[d] = add ? y[d] : T(0);
      } else if (x_.exclusive) {
        for (int64_t d = 0; d < n; ++d) {
          const T now = c[d] - k[d] * dk[d];
          y[d] = (add ? y[d] : T(0)) + now;
          c[d] = now + q[d] * dq[d];
        }
      } else {
        for (int64_t d = 0; d < n; ++d) {
          c[d] += q[d] * dq[d] - k[d] * dk[d];
          y[d] = (add ? y[d] : T(0)) + c[d];
        }
      }
    }
  }

  void scalar_decay_gradient(const Piece& p) {
    T c = 0;
    for (int64_t d = 0; d < keys_; ++d) c += running_.data<T>()[d];
    for (int64_t t = p.to - 1; t >= p.from; --t) {
      const T read = dot(x_.q.row(t), dq_.into.row(t), keys_);
      c -= dot(x_.k.row(t), dk_.into.row(t), keys_);
      if (!x_.exclusive) c += read;
      T* y = g_.d_log_decay.into.row(t);
      *y = (g_.d_log_decay.add ? *y : T(0)) + (p.fresh && t == p.from ? T(0) : c);
      if (x_.exclusive) c += read;
    }
  }

  const GlaHead<T>& x_;
  const GlaHeadGradients<T>& g_;
  int64_t tokens_, keys_, values_;
  std::vector<Piece> pieces_;
  PassState<T> state_;
  Tensor decays_, value_decays_, anchors_, running_, dq_scratch_, dk_scratch_, dv_scratch_;
  View<const T> a_;      // [T+1, 1, dk or dv], the last row 1; null without decay
  View<const T> other_;  // [T+1, dv] value decays beside key decays; null without
  GradientView<T> dq_, dk_, dv_;
};

}  // namespace

template <class T>
void gla_head_forward(const GlaHead<T>& head, View<T> o, T* state) {
  Tensor decays;
  View<const T> a;
  if (head.decay != Decay::none) {
    decays = linear_decays(head.log_decay, head.q.rows);
    a = decays.view<T>();
  }
  Tensor value_decays;
  View<const T> other;
  if (head.log_value_decay) {
    value_decays = linear_decays(head.log_value_decay, head.q.rows);
    other = value_decays.view<T>();
  }
  const int64_t tokens = head.q.rows;
  const GlaPass<T> pass{tokens, head.q, head.k, head.v, a, head.decay, head.exclusive, o, false, state};
  for (const Piece& p : pieces_of(head.starts, tokens, head.chunk > 0 ? head.chunk : tokens)) {
    if (p.fresh) std::fill_n(state, head.q.cols * head.v.cols, T(0));
    run_tokens(pass, other, p.from, p.to, false);
  }
}

template <class T>
void gla_head_backward(const GlaHead<T>& head, const GlaHeadGradients<T>& gradients) {
  HeadBackward<T>(head, gradients).run();
}

template void gla_head_forward(const GlaHead<float>&, View<float>, float*);
template void gla_head_forward(const GlaHead<double>&, View<double>, double*);
template void gla_head_backward(const GlaHead<float>&, const GlaHeadGradients<float>&);
template void gla_head_backward(const GlaHead<double>&, const GlaHeadGradients<double>&);

}  // namespace effllm
