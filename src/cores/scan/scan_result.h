// What the elementwise scans (core K1) return.
#pragma once
#include "tensor/tensor.h"

namespace effllm {

struct ScanResult {
  Tensor h;     // [B, T, C]
  Tensor last;  // [B, C] the state after the last token
};

}  // namespace effllm
