// Philox 4x32-10 (base/random.h) for many counters at once, one a 64-bit lane: its words in the low halves.
#pragma once
#include <utility>

#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {

template <int64_t kCount>
struct WordsOf {
  typedef uint64_t type __attribute__((vector_size(8 * kCount)));
};

template <class Words, int... kLane>
[[gnu::always_inline]] inline Words zip_words(Words a, Words b, bool high, std::integer_sequence<int, kLane...>) {
  constexpr int n = sizeof...(kLane);
  return high ? __builtin_shufflevector(a, b, (kLane / 2 + n / 2 + kLane % 2 * n)...)
              : __builtin_shufflevector(a, b, (kLane / 2 + kLane % 2 * n)...);
}

// The words of counters {first + i, c1, c2, c3}, i < kCount, in their order: out[4 kCount].
template <int64_t kCount>
[[gnu::always_inline]] inline void philox_words(uint32_t first, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0,
                                                uint32_t k1, uint32_t* out) {
  using Words = typename WordsOf<kCount>::type;
  const auto low = [](Words x) { return x & 0xffffffffu; };
  Words x0{};
  for (int64_t i = 0; i < kCount; ++i) x0[i] = static_cast<uint32_t>(first + i);
  Words x1 = Words{} + c1, x2 = Words{} + c2, x3 = Words{} + c3;
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round, k0 += 0x9E3779B9, k1 += 0xBB67AE85) {
    const Words p0 = x0 * uint64_t{0xD2511F53}, p1 = x2 * uint64_t{0xCD9E8D57};
    x0 = (p1 >> 32) ^ x1 ^ uint64_t { k0 };
    x1 = low(p1);
    x2 = (p0 >> 32) ^ x3 ^ uint64_t { k1 };
    x3 = low(p0);
  }
  const Words even = x0 | (x1 << 32), odd = x2 | (x3 << 32);
  const auto lanes = std::make_integer_sequence<int, static_cast<int>(kCount)>();
  const Words pairs[2] = {zip_words(even, odd, false, lanes), zip_words(even, odd, true, lanes)};
  __builtin_memcpy(out, pairs, sizeof pairs);
}

}  // namespace effllm::EFFLLM_ISA
