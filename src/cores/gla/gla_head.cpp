// With S_t = a_t S_{t-1} + k_t v_t^T and G_t = d loss / d S_t, backward is the forward recurrence three times:
//   dq_t = S_t do_t     forwards, over S^T
//   dv_t = G_t^T k_t    backwards, G_t = a_{t+1} G_{t+1} + q_t do_t^T
//   dk_t = G_t v_t      backwards, over G^T
// An exclusive read takes S_{t-1} in the first line; G_t then holds q do^T of the tokens after t, which is the
// exclusive read of N_t = a_t N_{t+1} + q_t do_t^T. The gradient of log a_t is the row sum of a_t S_{t-1} * G_t, which
// grows backwards by q * dq - k * dk a token; at the ends of pieces it is anchored at S_e * a_{e+1} G_{e+1} itself, so
// that rounding does not pile up and the gradient of the final state comes in.
#include "cores/gla/gla_head.h"

#include "cores/common/heads.h"
#include "kernels/gla.h"

namespace effllm {
namespace {

// Tokens [from, to) of a pass, in time or against it.
template <class T>
void run_tokens(GlaPass<T> pass, int64_t from, int64_t to, bool reverse) {
  const auto take = [&](auto& x) { x = cut(x, from, to, reverse); };
  pass.steps = to - from;
  take(pass.x1);
  take(pass.x2);
  take(pass.x3);
  take(pass.a);
  take(pass.y);
  kernel::gla<T>(pass);
}

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
    if (x_.decay != Decay::none) decays_ = linear_decays(x_.log_decay, tokens_);
    a_ = view_or_null<T>(decays_);
    if (!decay_wanted()) return;
    anchors_ = Tensor::dense({tokens_ / longest + 1, keys_ * values_}, dtype_of<T>);
    running_ = Tensor::dense({keys_}, dtype_of<T>);
  }

  void run() {
    if (g_.dq.into || decay_wanted()) queries();  // leaves the anchors
    if (g_.dv.into || g_.d_state0.into) values();
    if (g_.dk.into || decay_wanted()) keys();
    deliver(dq_scratch_, g_.dq);
    deliver(dk_scratch_, g_.dk);
  }

 private:
  bool decay_wanted() const { return static_cast<bool>(g_.d_log_decay.into); }
  // The log decay's gradient needs those of q and k alone, not added to what their destinations hold.
  GradientView<T> alone(const GradientView<T>& g, Tensor& scratch) {
    if (!decay_wanted() || (g.into && !g.add)) return g;
    scratch = Tensor::dense({tokens_, keys_}, dtype_of<T>);
    return {scratch.view<T>(), false};
  }
  GlaPass<T> pass(View<const T> x1, View<const T> x2, View<const T> x3, View<const T> a, Decay decay,
                  const GradientView<T>& y) const {
    return {tokens_, x1, x2, x3, a, decay, x_.exclusive, y.into, y.add, state_.data()};
  }
  Decay transposed_decay() const { return x_.decay == Decay::key ? Decay::value : x_.decay; }
  // What decays the gradient on its way back to token t: a_{t+1}, or a_t before an exclusive read.
  View<const T> reverse_decays(View<const T> a) const { return a ? a.part(x_.exclusive ? 0 : 1, tokens_) : a; }
  // Pieces whose end a gradient flows back into.
  bool anchored(const Piece& p) const { return decay_wanted() && !p.closes && (p.to < tokens_ || g_.d_state); }

  void queries() {
    dq_ = alone(g_.dq, dq_scratch_);
    const GlaPass<T> forwards = pass(g_.d_o, x_.v, x_.k, a_, transposed_decay(), dq_);
    state_.set(g_.state0, true);
    int64_t anchor = 0;
    for (const Piece& p : pieces_) {
      if (p.fresh) state_.clear();
      run_tokens(forwards, p.from, p.to, false);
      if (anchored(p)) std::copy_n(state_.data(), state_.size(), anchors_.view<T>().row(anchor++));
    }
  }

  void values() {
    const GlaPass<T> backwards = pass(x_.k, x_.q, g_.d_o, reverse_decays(a_), x_.decay, g_.dv);
    state_.set(g_.d_state, false);
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      run_tokens(backwards, p->from, p->to, true);
    }
    if (!g_.d_state0.into) return;
    if (!continues(x_.starts)) state_.clear();
    state_.put(g_.d_state0, [&](int64_t i) { return x_.exclusive ? T(1) : decay_at(0, i); });
  }

  void keys() {
    dk_ = alone(g_.dk, dk_scratch_);
    const GlaPass<T> backwards = pass(x_.v, g_.d_o, x_.q, reverse_decays(a_), transposed_decay(), dk_);
    const bool decay = decay_wanted();
    state_.set(g_.d_state, true);
    int64_t anchor = decay ? anchors_in_use() : 0;
    for (auto p = pieces_.rbegin(); p != pieces_.rend(); ++p) {
      if (p->closes) state_.clear();
      if (decay) start_running(anchored(*p) ? anchors_.view<T>().row(--anchor) : nullptr, p->to);
      run_tokens(backwards, p->from, p->to, true);
      if (decay) x_.decay == Decay::key ? key_decay_gradient(*p) : scalar_decay_gradient(*p);
    }
  }

  int64_t anchors_in_use() const {
    int64_t n = 0;
    for (const Piece& p : pieces_) n += anchored(p);
    return n;
  }

  // What decays the state's row of key d at row t of the decays.
  T decay_at(int64_t t, int64_t d) const { return a_ ? a_.row(t)[x_.decay == Decay::key ? d : 0] : T(1); }

  // The running sums at the end of a piece, of S_e * (a_{e+1} G_{e+1}) over values. anchor: S_e as [dv][dk], as the
  // state is.
  void start_running(const T* anchor, int64_t end) {
    T* c = running_.data<T>();
    const T* m = state_.data();
    std::fill_n(c, running_.numel(), T(0));
    if (!anchor) return;
    for (int64_t j = 0; j < values_; ++j)
      for (int64_t d = 0; d < keys_; ++d) {
        const T product = anchor[j * keys_ + d] * m[j * keys_ + d];
        c[d] += x_.exclusive ? product : decay_at(end, d) * product;
      }
  }

  void key_decay_gradient(const Piece& p) {
    const bool add = g_.d_log_decay.add;
    const int64_t n = keys_;
    T* c = running_.data<T>();
    for (int64_t t = p.to - 1; t >= p.from; --t) {
      const T *q = x_.q.row(t), *dq = dq_.into.row(t), *k = x_.k.row(t), *dk = dk_.into.row(t);
      T* y = g_.d_log_decay.into.row(t);
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
  Tensor decays_, anchors_, running_, dq_scratch_, dk_scratch_;
  View<const T> a_;  // [T+1, 1 or dk], the last row 1; null without decay
  GradientView<T> dq_, dk_;
};

}  // namespace

template <class T>
void gla_head_forward(const GlaHead<T>& head, View<T> o, T* state) {
  const Tensor decays = head.decay == Decay::none ? Tensor() : linear_decays(head.log_decay, head.q.rows);
  const View<const T> a = view_or_null<T>(decays);
  const int64_t tokens = head.q.rows;
  const GlaPass<T> pass{tokens, head.q, head.k, head.v, a, head.decay, head.exclusive, o, false, state};
  for (const Piece& p : pieces_of(head.starts, tokens, head.chunk > 0 ? head.chunk : tokens)) {
    if (p.fresh) std::fill_n(state, head.q.cols * head.v.cols, T(0));
    run_tokens(pass, p.from, p.to, false);
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
