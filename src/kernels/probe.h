// Probes of the machine.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

EFFLLM_KERNEL(fma_chains, double(int64_t rounds, T* sink));  // returns how many operations it did; sink: [64 bytes]
EFFLLM_KERNEL(read_all, T(const T* x, int64_t n));           // returns a sum
EFFLLM_KERNEL(triad, void(const T* b, const T* c, T s, T* a, int64_t n));  // a = b + s c

}  // namespace effllm
