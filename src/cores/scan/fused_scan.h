// Scans whose coefficients are gates of the input, computed in one pass over memory (core K1): minLSTM, HGRN, RG-LRU.
#pragma once
#include "cores/scan/scan_result.h"
#include "kernels/table.h"

namespace effllm {

// h_t = a_t h_{t-1} + b_t with the coefficients of `form` (kernels/table.h). x0, x1, x2: [B, T, C], T >= 1, x2
// undefined for hgrn; row: [C] where the form has one; h0: [B, C] or undefined, then the first token begins a document;
// segments as in segments.h. Keeps inputs and h; coefficients are computed again backwards. Gradients for all float
// inputs, through both results.
ScanResult fused_scan(ScanForm form, const Tensor& x0, const Tensor& x1, const Tensor& x2, const Tensor& row,
                      const Tensor& h0 = {}, const Tensor& segments = {});

}  // namespace effllm
