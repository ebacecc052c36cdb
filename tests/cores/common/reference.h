// Sequence cores as plain loops over tokens in f64, from their equations: what the fast forms are compared with.
// Inputs of either float type; results are f64, and no gradients are recorded.
#pragma once
#include "cores/conv/short_conv.h"
#include "cores/gla/gla.h"
#include "cores/scan/scan_result.h"

namespace effllm {

// h_t = a_t * h_{t-1} + b_t, elementwise. a, b: [B, T, C]; h0: [B, C], undefined for zero; segments: i64 [B, T] or
// undefined.
ScanResult reference_scan(const Tensor& a, const Tensor& b, const Tensor& h0, const Tensor& segments);
// Inputs as in gla.h and short_conv.h.
GlaResult reference_gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay,
                        const Tensor& state0, const Tensor& segments, const GlaOptions& options);
ShortConvResult reference_short_conv(const Tensor& x, const Tensor& weight, const Tensor& history,
                                     const Tensor& segments);

}  // namespace effllm
