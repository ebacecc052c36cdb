// The scan of minGRU with its gates, in one pass over memory: core K1, Feng et al. 2024, arXiv:2410.01201.
#pragma once
#include "cores/scan/scan_result.h"
#include "kernels/table.h"

namespace effllm {

// h_t = (1 - z_t) * h_{t-1} + z_t * c_t, z = sigmoid(gate), c = candidate, or minGRU's g of it: positive, u + 1/2 from
// 0 on and sigmoid(u) below. gate, candidate: [B, T, C], T >= 1; h0: [B, C], undefined for zero; segments: i64 [B, T]
// or undefined (see segments.h). Keeps gate, candidate and h alone, the gates are computed again backwards. Gradients
// for gate, candidate and h0, through both results. ShapeError where shapes don't fit.
ScanResult gated_scan(const Tensor& gate, const Tensor& candidate, Candidate kind, const Tensor& h0 = {},
                      const Tensor& segments = {});

}  // namespace effllm
