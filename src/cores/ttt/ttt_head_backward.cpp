// Backward of one head, mini-batch by mini-batch from the last to the first. With r_i = q_i W_i + b_i the reading of
// token i, dr its gradient, u_i = tau_i dr_i, a_j = eta_j g_j the step of token j, P = q k^T, and (D, d) the gradient
// of the sum of steps when the mini-batch ends (that of what follows, times -tau_M where the sum becomes the next
// start):
//   d a_j = D^T k_j + d - sum_{i >= j} (1 + P_ij) u_i
//   d q_i = d o_i + W_0 dr_i - sum_{j <= i} (u_i.a_j) k_j
//   d k_j = W_0 d z_j + D a_j - sum_{i >= j} (u_i.a_j) q_i + what the target v - k gives
//   d tau_i = -sum_{j <= i} (1 + P_ij) dr_i.a_j,   d W_0 += q^T dr + k^T d z,   d b_0 += dr + d z
// d z, d eta and the layer norm's gradients come from the inner gradient's own derivative (kernels/isa/ttt.cpp). A
// mini-batch that was open already reads the sum before it as well.
#include <algorithm>

#include "cores/common/heads.h"
#include "cores/ttt/ttt_head.h"
#include "kernels/groups.h"
#include "kernels/norm.h"
#include "kernels/pointwise.h"
#include "kernels/ttt.h"

namespace effllm {
namespace {

template <class T>
class HeadBackward {
 public:
  HeadBackward(const TttHead<T>& head, const TttHeadGradients<T>& gradients)
      : x_(head), g_(gradients), n_(head.q.cols) {
    const int64_t tokens = x_.q.rows, rows = std::min(x_.mini_batch, tokens);
    batches_ = mini_batches(x_.positions, tokens, x_.mini_batch, static_cast<bool>(x_.before.w));
    const auto make = [](int64_t r, int64_t c) { return Tensor::empty({r, c}, dtype_of<T>); };
    // A start that is neither learned nor given follows a whole mini-batch, or the first one.
    starts_ = make((tokens / x_.mini_batch + 1) * n_, n_);
    steps_ = make(tokens, n_);
    for (Tensor& t : rows_) t = make(rows, n_);
    for (Tensor& t : squares_) t = make(rows, rows);
    stats_ = make(2, rows);
    dots_ = make(rows, 1);
  }

  void run() {
    find_starts();
    start_state<T>(g_.d_after.w, g_.d_before.w);
    start_state<T>(g_.d_after.b, g_.d_before.b);
    start_state<T>(g_.d_after.sum_w, g_.d_before.sum_w);
    start_state<T>(g_.d_after.sum_b, g_.d_before.sum_b);
    for (size_t i = batches_.size(); i-- > 0;) {
      const MiniBatch& m = batches_[i];
      backward(m, m.closes || i + 1 == batches_.size());
      if (!m.fresh) {
        if (m.from > 0) --start_;
        continue;
      }
      kernel::scale<T>(T(1), g_.d_before.w, g_.d_w0, true);
      kernel::scale<T>(T(1), g_.d_before.b, g_.d_b0, true);
      clear(g_.d_before.w);
      clear(g_.d_before.b);
    }
  }

 private:
  enum Rows { kRead, kScaled, kStep, kOfSum, kIntoSum, kZ, kError, kScratch, kRowBlocks };
  View<T> block(Rows which, int64_t rows) const { return rows_[which].template view<T>().part(0, rows); }
  View<T> start(int64_t i) const { return starts_.view<T>().part(i * n_, n_); }
  bool open(const MiniBatch& m) const { return !m.fresh && m.from == 0 && m.place > 0; }
  View<const T> start_of(const MiniBatch& m) const {
    return m.fresh ? x_.w0 : m.from == 0 ? x_.before.w : View<const T>(start(start_ - 1));
  }
  TttRows<T> rows_of(const MiniBatch& m) const {
    const int64_t n = m.to - m.from;
    return {g_.z.part(m.from, n),
            x_.k.part(m.from, n),
            x_.v.part(m.from, n),
            x_.eta.part(m.from, n),
            x_.weight,
            x_.bias,
            x_.eps};
  }

  // Every token's step, and the model at the start of every mini-batch but the first of a document. start_: how many.
  void find_starts() {
    for (size_t i = 0; i < batches_.size(); ++i) {
      const MiniBatch& m = batches_[i];
      const int64_t rows = m.to - m.from;
      const View<T> a = steps_.view<T>().part(m.from, rows);
      kernel::ttt_gradient<T>(rows_of(m), a);
      if (i + 1 == batches_.size() || batches_[i + 1].fresh) continue;
      const T last = -x_.tau[x_.mini_batch - 1];
      const View<T> next = start(start_), scaled = block(kScaled, rows);
      kernel::scale<T>(T(1), start_of(m), next, false);
      ++start_;
      if (open(m)) kernel::scale<T>(last, x_.before.sum_w, next, true);
      kernel::scale<T>(last, a, scaled, false);
      ttt_product<T>(true, false, x_.k.part(m.from, rows), scaled, next, true);
    }
  }

  // Scores become -(1 + P), products of dr and a become -tau times that, both zero above the diagonal.
  void triangle(const MiniBatch& m, View<T> scores, View<T> products) {
    for (int64_t i = 0; i < scores.rows; ++i) {
      T *s = scores.row(i), *p = products.row(i), d_tau = 0;
      const T tau = x_.tau[m.place + i];
      for (int64_t j = 0; j <= i; ++j) {
        s[j] = -(T(1) + s[j]);
        d_tau += s[j] * p[j];
        p[j] *= -tau;
      }
      std::fill(s + i + 1, s + scores.cols, T(0));
      std::fill(p + i + 1, p + scores.cols, T(0));
      g_.d_tau[m.place + i] += d_tau;
    }
  }
  T dot(View<const T> a, View<const T> b) {
    T sum = 0;
    for (int64_t from = 0; from < a.rows; from += dots_.rows()) {
      const int64_t rows = std::min(dots_.rows(), a.rows - from);
      kernel::group_dot<T>(a.part(from, rows), b.part(from, rows), dots_.view<T>().part(0, rows), false);
      for (int64_t r = 0; r < rows; ++r) sum += *dots_.view<T>().row(r);
    }
    return sum;
  }
  static View<T> rows_of(const GradientView<T>& sink, const MiniBatch& m) {
    return sink.into ? sink.into.part(m.from, m.to - m.from) : View<T>{};
  }

  // followed: something after this call or this mini-batch depends on the sum of steps.
  void backward(const MiniBatch& m, bool followed) {
    const int64_t rows = m.to - m.from;
    const View<const T> q = x_.q.part(m.from, rows), k = x_.k.part(m.from, rows), w = start_of(m),
                        d_o = g_.d_o.part(m.from, rows), readings = g_.read.part(m.from, rows);
    const View<T> a = steps_.view<T>().part(m.from, rows), dr = block(kRead, rows), u = block(kScaled, rows),
                  da = block(kStep, rows), dz = block(kZ, rows), de = block(kError, rows), of_sum = block(kOfSum, rows),
                  into_sum = block(kIntoSum, rows);
    const View<T> scores = squares_[0].view<T>().part(0, rows).columns(0, rows),
                  products = squares_[1].view<T>().part(0, rows).columns(0, rows);
    T *mean = stats_.view<T>().row(0), *rstd = stats_.view<T>().row(1);
    kernel::layer_norm<T>(readings, x_.weight, x_.bias, n_, x_.eps, dr, mean, rstd);
    kernel::layer_norm_backward<T>(readings, x_.weight, n_, mean, rstd, d_o, dr, false, g_.d_weight, true, g_.d_bias,
                                   true);
    kernel::scale_groups<T>(dr, View<const T>{x_.tau + m.place, rows, 1, 1}, u, false);
    ttt_product<T>(false, true, q, k, scores, false);
    ttt_product<T>(false, true, dr, a, products, false);
    triangle(m, scores, products);

    // D and d, up to the factor c.
    const View<T> d_sum_w = m.closes ? g_.d_before.w : g_.d_before.sum_w,
                  d_sum_b = m.closes ? g_.d_before.b : g_.d_before.sum_b;
    const T c = m.closes ? -x_.tau[x_.mini_batch - 1] : T(1);
    ttt_product<T>(true, false, scores, u, da, false);
    if (followed) {
      ttt_product<T>(false, false, k, d_sum_w, of_sum, false);
      kernel::add_row<T>(of_sum, d_sum_b.data, of_sum);
      kernel::scale<T>(c, of_sum, da, true);
      ttt_product<T>(false, true, a, d_sum_w, into_sum, false);
      if (m.closes) g_.d_tau[x_.mini_batch - 1] -= dot(of_sum, a);
    }
    kernel::ttt_gradient_backward<T>(rows_of(m),
                                     {da, dz, de, rows_of(g_.d_eta, m), g_.d_eta.add, g_.d_weight, g_.d_bias});

    if (const View<T> dq = rows_of(g_.dq, m)) {
      kernel::scale<T>(T(1), d_o, dq, g_.dq.add);
      ttt_product<T>(false, true, dr, w, dq, true);
      ttt_product<T>(false, false, products, k, dq, true);
      if (open(m)) {
        const View<T> back = block(kScratch, rows);
        ttt_product<T>(false, true, u, x_.before.sum_w, back, false);
        kernel::scale<T>(T(-1), back, dq, true);
      }
    }
    if (const View<T> dk = rows_of(g_.dk, m)) {
      ttt_product<T>(true, false, products, q, dk, g_.dk.add);
      ttt_product<T>(false, true, dz, w, dk, true);
      kernel::scale<T>(T(1), de, dk, true);
      if (followed) kernel::scale<T>(c, into_sum, dk, true);
    }
    if (const View<T> dv = rows_of(g_.dv, m)) kernel::scale<T>(T(-1), de, dv, g_.dv.add);
    pass_to_sum(m, d_sum_w, d_sum_b, followed ? c : T(0), dr, u);
    ttt_product<T>(true, false, q, dr, g_.d_before.w, true);
    ttt_product<T>(true, false, k, dz, g_.d_before.w, true);
    kernel::column_sum<T>(dr, g_.d_before.b.data, true);
    kernel::column_sum<T>(dz, g_.d_before.b.data, true);
  }

  // The gradient of the sum that was there before the mini-batch's first token here.
  void pass_to_sum(const MiniBatch& m, View<T> d_sum_w, View<T> d_sum_b, T c, View<T> dr, View<T> u) {
    if (!open(m)) {
      clear(g_.d_before.sum_w);
      clear(g_.d_before.sum_b);
      return;
    }
    const int64_t rows = m.to - m.from;
    const View<const T> q = x_.q.part(m.from, rows);
    const View<T> sums = block(kScratch, rows);
    ttt_product<T>(false, false, q, x_.before.sum_w, sums, false);
    kernel::add_row<T>(sums, x_.before.sum_b.data, sums);
    for (int64_t i = 0; i < rows; ++i) g_.d_tau[m.place + i] -= dot(sums.part(i, 1), dr.part(i, 1));
    if (m.closes) g_.d_tau[x_.mini_batch - 1] -= dot(x_.before.sum_w, d_sum_w) + dot(x_.before.sum_b, d_sum_b);
    const View<T> minus = u;
    kernel::scale<T>(T(-1), u, minus, false);
    kernel::scale<T>(c, d_sum_w, g_.d_before.sum_w, false);
    kernel::scale<T>(c, d_sum_b, g_.d_before.sum_b, false);
    ttt_product<T>(true, false, q, minus, g_.d_before.sum_w, true);
    kernel::column_sum<T>(minus, g_.d_before.sum_b.data, true);
  }

  const TttHead<T>& x_;
  const TttHeadGradients<T>& g_;
  int64_t n_, start_ = 0;
  std::vector<MiniBatch> batches_;
  Tensor starts_, steps_, rows_[kRowBlocks], squares_[2], stats_, dots_;
};

}  // namespace

template <class T>
void ttt_head_backward(const TttHead<T>& head, const TttHeadGradients<T>& gradients) {
  HeadBackward<T>(head, gradients).run();
}

template void ttt_head_backward(const TttHead<float>&, const TttHeadGradients<float>&);
template void ttt_head_backward(const TttHead<double>&, const TttHeadGradients<double>&);

}  // namespace effllm
