// A permutation of 0 .. n-1 that needs no table: the i-th element is a pure function of (n, seed, epoch, i).
#pragma once
#include <cstdint>

#include "base/random.h"

namespace effllm {

// A balanced Feistel network on the smallest even number of bits that holds n, keyed by Philox; values of n and
// above are sent through again until they fall below it (cycle walking: at most 4 passes on average).
class Permutation {
 public:
  Permutation(int64_t n, uint64_t seed, uint64_t epoch);  // ShapeError for n < 1
  int64_t operator()(int64_t i) const;                    // 0 <= i < n

 private:
  uint64_t pass(uint64_t x) const;
  uint64_t n_;
  int half_bits_;
  RandomStream rounds_;
};

}  // namespace effllm
