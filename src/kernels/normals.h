// The kernel of normal random numbers.
#pragma once
#include "kernels/kernel.h"

namespace effllm::kernel {

// Standard normals of base/random.h near their values, within 2^-48 of each: pairs [first, first + pairs) of a stream
// with the words key0, key1 and stream0, stream1; counters must not pass a multiple of 2^32 within. z: [2 pairs].
inline Kernel<void(const uint32_t key[2], const uint32_t stream[2], uint64_t first, int64_t pairs, double* z)> normals;

}  // namespace effllm::kernel
