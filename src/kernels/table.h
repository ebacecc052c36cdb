// The kernels as a table of functions, filled once for each instruction set by the files in isa/. All are noexcept and
// sequential; callers have checked every size. `add`: add to the destination instead of overwriting it.
#pragma once
#include <cstdint>

#include "kernels/isa.h"
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
  laplace
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

// One head of one sequence. Key j may be seen by query i iff first[i] <= j < last[i] and, where window > 0, it lies
// within the window or is a sink: with distance = (i + q_offset) - j, causal: 0 <= distance < window or
// j - first[i] < sinks; bidirectional: |distance| < window or j - first[i] < sinks. Causal also needs distance >= 0.
// A gap stands for keys that were forgotten between sinks and window: keys j >= sinks count as at j + gap, and queries
// as at i + q_offset + gap. Positions enter through ALiBi and the window alone.
template <class T>
struct AttentionArgs {
  View<const T> q, k, v;              // [Tq, dk], [S, dk], [S, dv]
  int64_t q_offset = 0;               // index among the keys of the first query's own token
  double scale = 1, alibi_slope = 0;  // score = scale q.k - alibi_slope |distance|
  bool causal = true;
  int64_t window = 0, sinks = 0, gap = 0;
  const int64_t* first = nullptr;  // [Tq] first key of the query's document; null: 0
  const int64_t* last = nullptr;   // [Tq] one past its last key; null: S
  // Dropout of probabilities: entry (i, j) is kept iff the 32 bits that Philox gives for counter
  // {j / 4, i + q_offset, drop_c2, drop_c3} and these keys, word j % 4, are >= drop_below; kept ones grow by
  // drop_scale.
  uint32_t drop_below = 0, drop_key0 = 0, drop_key1 = 0, drop_c2 = 0, drop_c3 = 0;
  double drop_scale = 1;
  int64_t strip = 32;    // query rows at a time: how, never what
  View<T> o;             // [Tq, dv]
  T* lse = nullptr;      // [Tq] log-sum-exp of each row's scores (natural log); -inf: it saw nothing, o = 0
  T* scratch = nullptr;  // attention_scratch(...) elements
};
template <class T>
struct AttentionBackwardArgs {
  View<const T> d_o;   // [Tq, dv]
  View<T> dq, dk, dv;  // like q, k, v; each (+)= by its flag
  bool add_q = false, add_k = false, add_v = false;
};

enum class Decay { none, scalar, key, value };

// M_t = decay(a_t) M_{t-1} + x2_t x3_t^T ;  y_t (+)= M_t^T x1_t  (exclusive: y_t reads M_{t-1}).
// x1, x2: [T, rows of M]; x3, y: [T, columns of M]; a: linear decays in [0, 1]: [T,1] scalar, [T, rows] key,
// [T, columns] value. Strides may be negative: time runs backwards then. a = 0 is legal (a document starts).
template <class T>
struct GlaPass {
  int64_t steps;
  View<const T> x1, x2, x3, a;  // `a` unused for Decay::none
  Decay decay;
  bool exclusive = false;
  View<T> y;  // null data: only the state is wanted
  bool add = false;
  T* state;  // [rows][columns] dense, in and out
};

// The delta rule over M [rows][columns] dense, in and out: M' = a_t M, e_t = v_t - M'^T k_t, M = M' + beta_t k_t e_t^T,
// o_t = M^T q_t. q, k: [T, rows]; v, o, e: [T, columns]; a in [0, 1], beta: [T, 1]; no decay where a has no data. `e`
// is optional. Strides may be negative, here and below. scratch: 5 steps + 64 rows elements.
template <class T>
struct DeltaPass {
  int64_t steps;
  View<const T> q, k, v, a, beta;
  View<T> o, e;
  T *state, *scratch;
};
// G [rows][columns] of backward: G = a_t G' + q_t d_o_t^T, x_t = G^T k_t, y_t = beta_t x_t, G' = G - k_t y_t^T. On the
// way u_t = beta_t e_t.
template <class T>
struct DeltaValuesPass {
  int64_t steps;
  View<const T> q, k, d_o, e, a, beta;
  View<T> x, y, u;
  T *state, *scratch;
};
// Over transposed states. u, y, d_o: [T, rows]; q, k and the results: [T, columns].
// In time (q has no data): M' = a_t M, decayed_t = M'^T y_t, M = M' + u_t k_t^T, read_t = M^T d_o_t.
// Against it: G = a_t G' + d_o_t q_t^T, read_t = G^T u_t, G' = G - y_t k_t^T.
template <class T>
struct DeltaKeysPass {
  int64_t steps;
  View<const T> u, y, d_o, q, k, a;
  View<T> read, decayed;
  T *state, *scratch;
};

// What is left of a head's gradients when the passes are done, all [T, n] in time and worked on from the last token:
// dk = read - decayed, d_beta = x.e, d_log_decay = c += q.dq - k.(read + decayed). Null results are not wanted. Where
// the tokens are `fresh` nothing was there for the first to decay.
template <class T>
struct DeltaGradients {
  int64_t steps;
  View<const T> q, k, dq, read, decayed, x, e;
  View<T> dk, d_beta, d_log_decay;
  bool add_dk, add_beta, add_decay, fresh;
  T c;
};

// Diagonal plus low rank, M [rows][columns] dense: M = decay(d_t) M + b_t c_t^T + k_t v_t^T, o_t = M^T q_t,
// c_{t+1} = M^T next_t, which is written to r_t. c of the first token is `first`, or M^T read_first before anything
// happens, written to r_first, or nothing. q, k, b: [T, rows]; next may have fewer rows than steps: the last c is then
// not written; v, o, r: [T, columns]; d: [T, 1] scalar, [T, rows] key. scratch: 64 rows elements.
template <class T>
struct DplrPass {
  int64_t steps;
  View<const T> q, k, v, b, next, d;
  Decay decay;
  const T *first, *read_first;
  View<T> o, r;
  T *r_first, *state, *scratch;
};
// Over transposed states: M = M decay(d_t) + x_t b_t^T + v_t k_t^T, o_t = M^T read_t, p_t = M^T peek_t, the latter
// before token t's decay where `before`. x, v, read, peek: [T, rows]; b, k, o, p: [T, columns]; d: [T, 1] or [T,
// columns].
template <class T>
struct DplrKeysPass {
  int64_t steps;
  View<const T> x, v, read, peek, b, k, d;
  Decay decay;  // none, scalar or value
  bool before;
  View<T> o, p;
  T *state, *scratch;
};

// What minGRU takes for a candidate: u itself, or g(u) = u + 1/2 from 0 on, sigmoid(u) below.
enum class Candidate { linear, g };

template <class T>
struct GatedScanBackward {
  View<const T> gate, candidate, h;  // [T, C]
  const T* h0;                       // [C] or null for zero
  const uint8_t* starts;
  View<const T> d_h;            // null data: of h_T alone
  const T* d_last;              // [C] or null
  View<T> d_gate, d_candidate;  // null data where unwanted, as d_h0
  T* d_h0;
  bool add_gate, add_candidate, add_h0;
};

// Some columns of one sequence, each token mixed with the one before it; y_i,t = x_t + (x_{t-1} - x_t) (mix_i + m_i,t).
// Part i of m, y and their gradients begins i * step columns further on.
inline constexpr int64_t kTokenMixColumns = 128;  // at most so many
template <class T>
struct TokenMix {
  View<const T> x;        // [T, n]
  const T* before;        // [n] the token before the first, or null for zero
  const uint8_t* starts;  // [T] non-zero where a document starts, or null
  const T* mix;           // [parts][n], mix_stride apart
  int64_t mix_stride;
  View<const T> m;  // [T, n], of part 0; null data: none
  int64_t parts, step;
};
template <class T>
struct TokenMixBackward {
  View<const T> dy;
  const T* d_last;  // [n] of the last token itself, or null
  View<T> d_x, d_m;
  T* d_mix;  // [parts][n], added to, d_mix_stride apart
  int64_t d_mix_stride;
  T* d_before;
  bool add_x, add_m, add_before;
};

// One head of one sequence of linear attention. y_t = o_t / (q_t . z_t + eps), z_t = z_{t-1} + k_t.
template <class T>
struct KeySum {
  View<const T> q, k, o;  // [T, dk] twice, [T, dv]
  const uint8_t* starts;  // z begins at zero there
  T eps;
  View<T> inverse;  // [T, 1] the factor of o: written forward, read backward
};
template <class T>
struct KeySumBackward {
  View<const T> dy;
  View<T> d_q, d_k, d_o;
  bool add_q, add_k, add_o;
  T *z, *d_z;  // [dk] in and out: z before the first token; the gradient of the last z, then of the first
  T* e;        // [T] scratch
};

// y_t = o_t + (sum_d q_d u_d k_d) v_t.
template <class T>
struct Bonus {
  View<const T> q, k, v;
  const T* u;  // [dk]
};
template <class T>
struct BonusBackward {
  View<const T> dy;
  View<T> d_q, d_k, d_v;
  bool add_q, add_k, add_v;
  T* d_u;  // [dk], added to
};

// y = (o + d x) silu(z), d: [groups]; gradients with null data are not wanted.
template <class T>
struct GatedSkipBackward {
  View<const T> o, x, z, dy;  // [rows, groups * n]
  const T* d;
  int64_t groups;
  View<T> d_o, d_x, d_z;
  bool add_o, add_x, add_z;
  T* d_d;
  bool add_d;
};

// One step of one sequence of width W. Gates stand one after another in [4W] and [3W]. `recurrent`: R h_{t-1}; null, as
// is c_before or h_before then: a state of zeros. The new state may overwrite the one before.
template <class T>
struct LstmStep {
  int64_t width;
  const T *in, *recurrent;  // [4W] i, f, g, o, before their functions
  const T* c_before;
  T *h, *c;
  T* gates;  // [4W] i, f, g, o after their functions, kept for backward; or null
};
template <class T>
struct LstmStepBackward {
  int64_t width;
  const T *gates, *c, *c_before;
  const T* d_h;
  T* d_c;      // of c_t beside that through h_t; on return of c_{t-1}
  T* d_gates;  // [4W] of the sums in + recurrent
};
template <class T>
struct GruStep {
  int64_t width;
  const T *in, *recurrent, *bias;  // [3W] r, z, n and [3W], the bias [W] of n's recurrent part
  const T* h_before;
  T* h;
  T* gates;  // [4W] r, z, n and R_n h + bias, kept for backward; or null
};
template <class T>
struct GruStepBackward {
  int64_t width;
  const T *gates, *h_before;
  T* d_h;          // of h_t; on return what reaches h_{t-1} past the product
  T* d_in;         // [3W]; its first 2W are those of the recurrent sums too
  T* d_recurrent;  // [W] of R_n h + bias
};

// Scans h_t = a_t h_{t-1} + b_t whose coefficients come from the inputs x[0], x[1] (, x[2]) and a row of numbers for
// each column; `first` is what h_t is at the start of a document. s: sigmoid.
//   min_lstm  (f, i, u): a = s(f) / (s(f) + s(i)), b = (1 - a) u; min_lstm_g: minGRU's g(u) for u
//   hgrn      (f, u; row): a = row + (1 - row) s(f), b = (1 - a) silu(u)
//   rg_lru    (r, i, u; row): a = exp(-8 row s(r)), b = sqrt(1 - a^2) s(i) u, first = s(i) u
enum class ScanForm { min_lstm, min_lstm_g, hgrn, rg_lru };
constexpr int inputs_of(ScanForm f) { return f == ScanForm::hgrn ? 2 : 3; }
constexpr bool has_row(ScanForm f) { return f == ScanForm::hgrn || f == ScanForm::rg_lru; }

// One sequence. h0: [C], or null: the first token begins a document. starts: as for `scan`.
template <class T>
struct FusedScan {
  View<const T> x[3];  // [T, C] each
  const T* row;        // [C]
  const T* h0;
  const uint8_t* starts;
};
template <class T>
struct FusedScanBackward {
  View<const T> h, d_h;  // d_h null data: of h_T alone
  const T* d_last;       // [C] or null
  View<T> dx[3];         // null data where unwanted, as d_row and d_h0
  bool add[3];
  T* d_row;  // [C], the sum over this sequence's tokens
  T* d_h0;
  bool add_h0;
};

// One sequence of h[n,c] = exp(-delta_c rate[n,c]) h[n,c] + delta_c x_c b_n,  y_c = sum_n c_n h[n,c] + skip_c x_c:
// Mamba's selective scan with its N states of each of C channels. delta, rate >= 0.
inline constexpr int64_t kSelectiveSpan = 16;  // tokens between checkpoints
template <class T>
struct SelectiveScan {
  View<const T> x, delta;  // [T, C]
  View<const T> b, c;      // [T, N]
  View<const T> rate;      // [N, C]
  const T* skip;           // [C] or null
  const uint8_t* starts;
  View<const T> h0;     // [N, C]; null: zero
  View<T> y, last;      // [T, C], [N, C]
  View<T> checkpoints;  // [ceil(T / kSelectiveSpan) N, C], states before every span; backward reads them. Null: none
  T* scratch;           // selective_scan_scratch(N, C) elements
};
template <class T>
struct SelectiveScanBackward {
  View<const T> d_y, d_last;  // [T, C], [N, C]; null: zero
  View<T> d_x, d_delta;       // [T, C], null where unwanted, as d_h0 [N, C]
  View<T> d_h0;
  bool add_x, add_delta, add_h0;
  View<T> d_b, d_c, d_rate;  // [T, N] twice, [N, C]; overwritten
  T* d_skip;                 // [C], overwritten
};

// Diagonal state spaces with constant decays, of one sequence: P complex states for each of C channels,
//   h = w h + u,  y = sum_p Re(e_p h_p) + skip u.
// w, e, h: [2P, C], real parts in rows [0, P), imaginary ones behind.
template <class T>
struct ModalScan {
  View<const T> u;     // [T, C]
  View<const T> w, e;  // [2P, C]
  const T* skip;       // [C] or null
  const uint8_t* starts;
  View<const T> h0;     // [2P, C]; null: zero
  View<T> y, last;      // [T, C], [2P, C]
  View<T> checkpoints;  // [ceil(T / kSelectiveSpan) 2P, C], as for SelectiveScan
  T* scratch;           // modal_scan_scratch(P, C) elements
};
template <class T>
struct ModalScanBackward {
  View<const T> d_y, d_last;  // null: zero
  View<T> d_u, d_h0;          // null where unwanted
  bool add_u, add_h0;
  View<T> d_w, d_e;  // [2P, C], overwritten
  T* d_skip;         // [C], overwritten
};

// Rows of one head of a linear model that is trained while it is used: z = k W + b of each token, whose loss is
// 1/2 |LN(z) - (v - k)|^2.
template <class T>
struct TttRows {
  View<const T> z, k, v;   // [rows, n]
  View<const T> eta;       // [rows, 1] the inner learning rates
  const T *weight, *bias;  // [n] of the layer norm
  T eps;
};
template <class T>
struct TttRowGradients {
  View<const T> d_a;
  View<T> d_z, d_error;  // d_error: of LN(z) - (v - k)
  View<T> d_eta;         // [rows, 1]; null data: not wanted
  bool add_eta;
  T *d_weight, *d_bias;  // added to
};
// y_i = y_i + bias - tau_i (sum_i + sum over j <= i of (1 + scores_ij) a_j).
template <class T>
struct TttRead {
  View<const T> scores, a, sum;  // [rows, rows], [rows, n] twice; null data of `sum`: zero
  const T *bias, *tau;           // [n], [rows]
  View<T> y;
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

  double (*sum_of_squares)(const T* x, int64_t n) noexcept;  // accumulated in f64
  void (*adamw)(const AdamwArgs&, int64_t n, const T* grad, T* value, T* m, T* v) noexcept;

  // One sequence: h_t = a_t h_{t-1} + b_t. starts: [T] non-zero where a document starts (h_{t-1} counts as 0), or
  // null. h0: [C] or null for zero.
  void (*scan)(View<const T> a, View<const T> b, const T* h0, const uint8_t* starts, View<T> h) noexcept;
  // d_h: gradient of every h_t; d_last: [C] of h_T beside it, or null. da, db, d_h0: null where unwanted.
  void (*scan_backward)(View<const T> a, View<const T> h, const T* h0, const uint8_t* starts, View<const T> d_h,
                        const T* d_last, View<T> da, bool add_a, View<T> db, bool add_b, T* d_h0, bool add_h0) noexcept;

  // One sequence: h_t = (1 - z_t) h_{t-1} + z_t c_t, z = sigmoid(gate), c as `kind` says. h0 and starts as for scan.
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
  void (*dplr)(const DplrPass<T>&) noexcept;
  void (*dplr_keys)(const DplrKeysPass<T>&) noexcept;
  void (*key_sum)(const KeySum<T>&, View<T> y, T* z) noexcept;  // z: [dk] in and out
  void (*key_sum_backward)(const KeySum<T>&, const KeySumBackward<T>&) noexcept;
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
