// The kernels as a table of functions, filled once for each instruction set by the files in isa/. All are noexcept and
// sequential; callers have checked every size. `add`: add to the destination instead of overwriting it.
#pragma once
#include <cstdint>

#include "kernels/attention_args.h"
#include "kernels/cell_args.h"
#include "kernels/delta_args.h"
#include "kernels/isa.h"
#include "kernels/linear_attention_args.h"
#include "kernels/scan_args.h"
#include "kernels/state_space_args.h"
#include "kernels/token_mix_args.h"
#include "kernels/ttt_args.h"
#include "tensor/view.h"

namespace effllm {

enum class Pointwise {
  sigmoid,
  tanh,
  relu,
  relu2,
  silu,
  gelu,
  gelu_tanh,
  softplus,
  log_sigmoid,
  exp,
  min_gru_g,
  elu1,
  reciprocal,
  laplace,
  log  // of the smallest normal number where x is less
};

// C[M,N] (+)= op(A)[M,K] op(B)[K,N], row-major. `a` is [M,K], or [K,M] where transpose_a; `b` [K,N] or [N,K].
template <class T>
struct GemmArgs {
  bool transpose_a, transpose_b;
  int64_t m, n, k;
  const T* a;
  int64_t lda;
  const T* b;
  int64_t ldb;
  T* c;
  int64_t ldc;
  bool add;
};

struct AdamwArgs {
  double lr, beta1, beta2, eps, weight_decay, grad_scale;
  double bias1, bias2;  // 1 - beta^t
};

template <class T>
struct Kernels {
  const char* isa;
  void (*gemm)(const GemmArgs<T>&) noexcept;

  // c (+)= a B for one B[k, n] and few rows at a time: `pack` lays B, or w^T of w[n, k], out in packed_size elements.
  int64_t (*packed_size)(int64_t k, int64_t n) noexcept;
  void (*pack)(bool transposed, View<const T> w, T* to) noexcept;
  void (*multiply_packed)(View<const T> a, const T* b, View<T> c, bool add) noexcept;

  // y (+)= f(x);  dx (+)= f'(x) dy
  void (*pointwise)(Pointwise f, View<const T> x, View<T> y) noexcept;
  void (*pointwise_backward)(Pointwise f, View<const T> x, View<const T> dy, View<T> dx, bool add) noexcept;
  // y (+)= alpha a * b elementwise;  y (+)= alpha a;  y = a + b
  void (*multiply)(T alpha, View<const T> a, View<const T> b, View<T> y, bool add) noexcept;
  void (*scale)(T alpha, View<const T> a, View<T> y, bool add) noexcept;
  void (*sum)(View<const T> a, View<const T> b, View<T> y) noexcept;
  void (*transpose)(View<const T> x, View<T> y) noexcept;              // y[c][r] = x[r][c]
  void (*add_row)(View<const T> x, const T* row, View<T> y) noexcept;  // y = x + row
  void (*column_sum)(View<const T> x, T* sum, bool add) noexcept;      // over rows, in row order
  // Groups of equal width in each row: y (+)= factor[g] * x;  y[g] (+)= a . b. factor, y of group_dot: [rows, groups].
  void (*scale_groups)(View<const T> x, View<const T> factor, View<T> y, bool add) noexcept;
  void (*group_dot)(View<const T> a, View<const T> b, View<T> y, bool add) noexcept;
  // y = x * factor + offset (null: none), [C] each;  y += x * factor;  sum[c] (+)= sum over rows of a * b, in row
  // order.
  void (*scale_columns)(View<const T> x, const T* factor, const T* offset, View<T> y, bool add) noexcept;
  void (*column_dot)(View<const T> a, View<const T> b, T* sum, bool add) noexcept;
  // gate_up: [rows, 2F]; y = silu(gate) * up
  void (*swiglu)(View<const T> gate_up, View<T> y) noexcept;
  void (*swiglu_backward)(View<const T> gate_up, View<const T> dy, View<T> d_gate_up, bool add) noexcept;
  void (*gated_skip)(View<const T> o, View<const T> x, View<const T> z, const T* d, int64_t groups, View<T> y) noexcept;
  void (*gated_skip_backward)(const GatedSkipBackward<T>&) noexcept;

  // Each row falls into groups of `width` columns that are normalised apart; rstd, mean: [rows * groups]. weight of
  // rms_norm: [width], the same for all groups, or null; weight and bias of layer_norm: [C], one for each column.
  void (*rms_norm)(View<const T> x, const T* weight, int64_t width, T eps, View<T> y, T* rstd) noexcept;
  void (*rms_norm_backward)(View<const T> x, const T* weight, int64_t width, const T* rstd, View<const T> dy,
                            View<T> dx, bool add_x, T* d_weight, bool add_w) noexcept;  // dx, d_weight may be null
  void (*layer_norm)(View<const T> x, const T* weight, const T* bias, int64_t width, T eps, View<T> y, T* mean,
                     T* rstd) noexcept;
  void (*layer_norm_backward)(View<const T> x, const T* weight, int64_t width, const T* mean, const T* rstd,
                              View<const T> dy, View<T> dx, bool add_x, T* d_weight, bool add_w, T* d_bias,
                              bool add_b) noexcept;

  // Rows of logits against targets (negative: no loss). Returns the sum of -log softmax(target) and, where d_logits
  // has data, (softmax - onehot) * scale. d_logits may be logits itself. nats: [rows] each row's loss, or null.
  double (*cross_entropy)(View<const T> logits, const int32_t* targets, T scale, View<T> d_logits,
                          double* nats) noexcept;

  // Rotates pairs (c, c + dim/2) of each head's first `dim` columns by +angle or -angle. cos, sin: [rows, dim/2] dense.
  void (*rotate)(View<const T> x, int64_t heads, int64_t head_dim, int64_t dim, const T* cos, const T* sin,
                 bool inverse, View<T> y, bool add) noexcept;
  // Row r is row (row0 + r % rows_per_sample) of sample (sample0 + r / rows_per_sample).
  void (*dropout)(View<const T> x, double p, uint32_t key0, uint32_t key1, int64_t sample0, int64_t row0,
                  int64_t rows_per_sample, View<T> y, bool add) noexcept;

  // Standard normals of base/random.h near their values, within 2^-48 of each: pairs [first, first + pairs) of a stream
  // with the words key0, key1 and stream0, stream1; counters must not pass a multiple of 2^32 within. z: [2 pairs].
  void (*normals)(const uint32_t key[2], const uint32_t stream[2], uint64_t first, int64_t pairs, double* z) noexcept;

  double (*sum_of_squares)(const T* x, int64_t n) noexcept;  // accumulated in f64
  void (*adamw)(const AdamwArgs&, int64_t n, const T* grad, T* value, T* m, T* v) noexcept;

  // One sequence: h_t = (1 - z_t) h_{t-1} + z_t c_t, z = sigmoid(gate), c as `kind` says. starts: [T] non-zero where a
  // document starts (h_{t-1} counts as 0), or null. h0: [C] or null for zero.
  void (*gated_scan)(Candidate kind, View<const T> gate, View<const T> candidate, const T* h0, const uint8_t* starts,
                     View<T> h) noexcept;
  void (*gated_scan_backward)(Candidate kind, const GatedScanBackward<T>&) noexcept;
  void (*fused_scan)(ScanForm form, const FusedScan<T>&, View<T> h) noexcept;
  void (*fused_scan_backward)(ScanForm form, const FusedScan<T>&, const FusedScanBackward<T>&) noexcept;

  int64_t (*selective_scan_scratch)(int64_t states, int64_t columns) noexcept;
  void (*selective_scan)(const SelectiveScan<T>&) noexcept;
  void (*selective_scan_backward)(const SelectiveScan<T>&, const SelectiveScanBackward<T>&) noexcept;

  int64_t (*modal_scan_scratch)(int64_t pairs, int64_t columns) noexcept;
  void (*modal_scan)(const ModalScan<T>&) noexcept;
  void (*modal_scan_backward)(const ModalScan<T>&, const ModalScanBackward<T>&) noexcept;
  // The impulse response of the same: k[l] = sum_p Re(e_p w_p^l) [T, C]. d_w, d_e: [2P, C], overwritten.
  int64_t (*modal_kernel_scratch)(int64_t pairs, int64_t tokens) noexcept;
  void (*modal_kernel)(View<const T> w, View<const T> e, View<T> k, T* scratch) noexcept;
  void (*modal_kernel_backward)(View<const T> w, View<const T> e, View<const T> d_k, View<T> d_w, View<T> d_e,
                                T* scratch) noexcept;

  // Fourier transforms of `lanes` columns side by side, of length n, a power of two: a spectrum is n pairs of vectors
  // [n][re, im][lanes], in an order of its own. turns: [n][2], e^(-2 pi i k / n). Signals have <= n rows, <= lanes
  // columns, zeros behind; a null imaginary part is zero.
  int64_t lanes;
  void (*to_spectrum)(View<const T> re, View<const T> im, int64_t n, const T* turns, T* x) noexcept;
  void (*from_spectrum)(T* x, int64_t n, const T* turns, View<T> re, View<T> im, bool add) noexcept;  // x is spent
  // x = x * k, or x * conj(k);  sum (+)= conj(a) b
  void (*multiply_spectra)(T* x, const T* k, bool conjugate, int64_t n) noexcept;
  void (*correlate_spectra)(const T* a, const T* b, T* sum, bool add, int64_t n) noexcept;
  // y_t = sum_{s<=t} k_{t-s} u_s term by term, for few tokens; then the gradients: d_u (+)=, d_k +=.
  void (*direct_conv)(View<const T> u, View<const T> k, View<T> y) noexcept;
  void (*direct_conv_backward)(View<const T> u, View<const T> k, View<const T> d_y, View<T> d_u, bool add_u,
                               View<T> d_k) noexcept;

  // One sequence: y_t = sum_j w[j] * x_{t-(W-1)+j}, depthwise. history: [W-1, C] the tokens before (null data: zeros).
  void (*short_conv)(View<const T> x, View<const T> w, View<const T> history, const uint8_t* starts,
                     View<T> y) noexcept;
  void (*short_conv_backward)(View<const T> x, View<const T> w, View<const T> history, const uint8_t* starts,
                              View<const T> dy, View<T> dx, bool add_x, View<T> dw, bool add_w, View<T> d_history,
                              bool add_history) noexcept;

  void (*lstm_cell)(const LstmStep<T>&) noexcept;
  void (*lstm_cell_backward)(const LstmStepBackward<T>&) noexcept;
  void (*gru_cell)(const GruStep<T>&) noexcept;
  void (*gru_cell_backward)(const GruStepBackward<T>&) noexcept;
  // One sequence: y_t (+)= sum of w[width - 1 - (t - s)] x_s over from[t] <= s <= t, from[t] > t - width, one filter
  // for all columns. Strides may be negative: time runs backwards then.
  void (*filter)(View<const T> x, const T* w, int64_t width, const int64_t* from, View<T> y, bool add) noexcept;

  void (*gla)(const GlaPass<T>&) noexcept;
  void (*delta)(const DeltaPass<T>&) noexcept;
  void (*delta_values)(const DeltaValuesPass<T>&) noexcept;
  void (*delta_keys)(const DeltaKeysPass<T>&) noexcept;
  void (*delta_gradients)(const DeltaGradients<T>&) noexcept;
  void (*normaliser)(const Normaliser<T>&, View<T> y, T* z) noexcept;  // z: [dk] in and out
  void (*normaliser_backward)(const Normaliser<T>&, const NormaliserBackward<T>&) noexcept;
  void (*bonus)(const Bonus<T>&, View<const T> o, View<T> y) noexcept;
  void (*bonus_backward)(const Bonus<T>&, const BonusBackward<T>&) noexcept;
  // y: [rows, 1 + f + f (f + 1) / 2] = (1, a x, the products b x_i x_j of i <= j in order of i, i = j times `half`)
  void (*taylor_features)(View<const T> x, T a, T b, T half, View<T> y) noexcept;
  void (*taylor_features_backward)(View<const T> x, T a, T b, T half, View<const T> dy, View<T> dx, bool add) noexcept;
  void (*token_mix)(const TokenMix<T>&, View<T> y) noexcept;
  void (*token_mix_backward)(const TokenMix<T>&, const TokenMixBackward<T>&) noexcept;

  void (*ttt_gradient)(const TttRows<T>&, View<T> a) noexcept;  // a = eta * d loss / d z
  void (*ttt_gradient_backward)(const TttRows<T>&, const TttRowGradients<T>&) noexcept;
  void (*ttt_read)(const TttRead<T>&) noexcept;

  int64_t (*attention_scratch)(int64_t queries, int64_t keys, int64_t dk, int64_t dv, int64_t strip) noexcept;
  void (*attention)(const AttentionArgs<T>&) noexcept;
  void (*attention_backward)(const AttentionArgs<T>&, const AttentionBackwardArgs<T>&) noexcept;

  // Probes of the machine. fma_chains: returns how many operations it did; sink: [64 bytes].
  double (*fma_chains)(int64_t rounds, T* sink) noexcept;
  T (*read_all)(const T* x, int64_t n) noexcept;                         // returns a sum
  void (*triad)(const T* b, const T* c, T s, T* a, int64_t n) noexcept;  // a = b + s c
};

}  // namespace effllm
