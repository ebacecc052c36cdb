// State spaces with constant, complex diagonal transitions (S4D): P modes for each of C channels, as a recurrence and
// as an impulse response to convolve with. Gu, Gupta, Goel and Re 2022, arXiv:2206.11893.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Complex numbers are [2P, C]: real parts in rows [0, P), imaginary parts in rows [P, 2P).
struct Modes {
  Tensor decay;  // w
  Tensor read;   // e
};
// Zero-order hold: w = exp(dt A), e = 2 c (w - 1) / A with dt = exp(log_dt), A = -exp(log_a_real) + i a_imag, computed
// in f64.
//   log_dt              [C]
//   c                   [C, 2P]  columns 2p real, 2p + 1 imaginary
//   log_a_real, a_imag  [C, P]
Modes modes(const Tensor& log_dt, const Tensor& c, const Tensor& log_a_real, const Tensor& a_imag);

struct ModalScanResult {
  Tensor y;     // [B, T, C]
  Tensor last;  // [B, 2P, C] after the last token
};
// h = w h + u,  y = sum_p Re(e_p h_p) + skip u.
//   u         [B, T, C]
//   skip      [C]         undefined: none
//   state0    [B, 2P, C]
//   segments  i64 [B, T]
ModalScanResult modal_scan(const Tensor& u, const Modes& modes, const Tensor& skip, const Tensor& state0,
                           const Tensor& segments);
// The response to one impulse, [tokens, C]: k_0 = sum_p Re e_p + skip, k_l = sum_p Re(e_p w_p^l).
Tensor modal_kernel(const Modes& modes, const Tensor& skip, int64_t tokens);

}  // namespace effllm
