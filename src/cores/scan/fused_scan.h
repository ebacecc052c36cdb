// Elementwise scans whose coefficients are gates of the input, computed in one pass over memory (core K1).
#pragma once
#include "kernels/scan.h"
#include "tensor/tensor.h"

namespace effllm {

struct ScanResult {
  Tensor h;     // [B, T, C]
  Tensor last;  // [B, C] the state after the last token
};

// h_t = a_t h_{t-1} + b_t, with s the sigmoid, c the candidate of u (kernels/scan.h):
//   gated_scan     a = 1 - s(z)               b = s(z) c
//   ratio_scan     a = s(f) / (s(f) + s(i))   b = (1 - a) c
//   floored_scan   a = l + (1 - l) s(f)       b = (1 - a) silu(u)
//   power_scan     a = exp(-8 rate s(r))      b = sqrt(1 - a^2) s(i) u, and s(i) u where a document starts
// Keeps inputs and h; coefficients are computed again backwards.
//   z, f, i, r, u  [B, T, C]
//   floor l, rate  [C]
//   h0             [B, C]      undefined: the first token begins a document
//   segments       i64 [B, T]
ScanResult gated_scan(const Tensor& z, const Tensor& u, Candidate candidate, const Tensor& h0 = {},
                      const Tensor& segments = {});
ScanResult ratio_scan(const Tensor& f, const Tensor& i, const Tensor& u, Candidate candidate, const Tensor& h0 = {},
                      const Tensor& segments = {});
ScanResult floored_scan(const Tensor& f, const Tensor& u, const Tensor& floor, const Tensor& h0 = {},
                        const Tensor& segments = {});
ScanResult power_scan(const Tensor& r, const Tensor& i, const Tensor& u, const Tensor& rate, const Tensor& h0 = {},
                      const Tensor& segments = {});

}  // namespace effllm
