// The elementwise linear recurrence (core K1) under minGRU, HGRN, RG-LRU, LRU, S5, QRNN.
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct ScanResult {
  Tensor h;     // [B, T, C]
  Tensor last;  // [B, C] the state after the last token
};

// h_t = a_t * h_{t-1} + b_t, elementwise. a, b: [B, T, C], T >= 1; h0: [B, C], undefined for zero; segments: i64 [B, T]
// or undefined (see segments.h). Gradients for a, b and h0, through both results. ShapeError where shapes don't fit.
ScanResult scan(const Tensor& a, const Tensor& b, const Tensor& h0 = {}, const Tensor& segments = {});

// One token, nothing recorded: h <- a * h + b in place, all [B, C].
void scan_step(const Tensor& a, const Tensor& b, const Tensor& h);

}  // namespace effllm
