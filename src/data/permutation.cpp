#include "data/permutation.h"

#include <algorithm>
#include <bit>

#include "base/error.h"

namespace effllm {
namespace {

constexpr uint64_t kRounds = 8;

}  // namespace

Permutation::Permutation(int64_t n, uint64_t seed, uint64_t epoch)
    : n_(static_cast<uint64_t>(n)),
      half_bits_(std::max(1, (static_cast<int>(std::bit_width(n_ - 1)) + 1) / 2)),
      rounds_(seed, "data.permutation", epoch) {
  require(n >= 1, "a permutation of {} elements", n);
}

// (left, right) -> (right, left ^ F_round(right)) is invertible whatever F is.
uint64_t Permutation::pass(uint64_t x) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = x >> half_bits_, right = x & mask;
  for (uint64_t round = 0; round < kRounds; ++round) {
    const uint64_t mixed = rounds_.bits(round << 32 | right) & mask;
    const uint64_t next = left ^ mixed;
    left = right;
    right = next;
  }
  return left << half_bits_ | right;
}

int64_t Permutation::operator()(int64_t i) const {
  require(i >= 0 && static_cast<uint64_t>(i) < n_, "element {} of a permutation of {}", i, n_);
  auto x = static_cast<uint64_t>(i);
  do x = pass(x);
  while (x >= n_);
  return static_cast<int64_t>(x);
}

}  // namespace effllm
