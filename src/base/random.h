// Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
// A number is a pure function of (seed, purpose, a, b, c), so that neither thread, shard nor rank can enter.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <string_view>
#include <vector>

#include "base/hash.h"

namespace effllm {

struct Philox {
  using Block = std::array<uint32_t, 4>;
  static constexpr Block run(Block c, uint32_t k0, uint32_t k1) {
    for (int round = 0; round < 10; ++round) {
      const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
      c = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
           static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
      k0 += 0x9E3779B9;
      k1 += 0xBB67AE85;
    }
    return c;
  }
};

// A stream of numbers for one purpose. `at(i)` has no hidden state; `a` and `b` are the caller's coordinates
// (step, sample ...).
class RandomStream {
 public:
  RandomStream(uint64_t seed, std::string_view purpose, uint64_t a = 0, uint64_t b = 0) {
    const uint64_t p = fnv1a(purpose);
    const auto key = Philox::run({static_cast<uint32_t>(p), static_cast<uint32_t>(p >> 32), static_cast<uint32_t>(a),
                                  static_cast<uint32_t>(a >> 32)},
                                 static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32));
    k0_ = key[0] ^ static_cast<uint32_t>(b);
    k1_ = key[1] ^ static_cast<uint32_t>(b >> 32);
    c2_ = key[2];
    c3_ = key[3];
  }
  uint32_t key0() const { return k0_; }
  uint32_t key1() const { return k1_; }
  // Beside the counter i, of which each block is a function.
  std::array<uint32_t, 2> key() const { return {k0_, k1_}; }
  std::array<uint32_t, 2> stream() const { return {c2_, c3_}; }
  Philox::Block block(uint64_t i) const {
    return Philox::run({static_cast<uint32_t>(i), static_cast<uint32_t>(i >> 32), c2_, c3_}, k0_, k1_);
  }
  uint64_t bits(uint64_t i) const {
    const auto b = block(i);
    return uint64_t{b[0]} << 32 | b[1];
  }
  double uniform(uint64_t i) const { return static_cast<double>(bits(i) >> 11) * 0x1p-53; }  // [0, 1)
  // Standard normals by Box-Muller, two to a block: normal(2 i) and normal(2 i + 1).
  struct Pair {
    double even, odd;
  };
  Pair normals(uint64_t i) const {
    const auto b = block(i);
    const double u = (static_cast<double>(uint64_t{b[0]} << 20 | b[1] >> 12) + 0.5) * 0x1p-52;
    const double v = static_cast<double>(uint64_t{b[2]} << 20 | b[3] >> 12) * 0x1p-52;
    const double r = std::sqrt(-2 * std::log(u)), angle = 2 * std::numbers::pi * v;
    return {r * std::cos(angle), r * std::sin(angle)};
  }
  double normal(uint64_t i) const { return i % 2 ? normals(i / 2).odd : normals(i / 2).even; }
  // Uniform in [0, n); the bias of the multiply-shift is below 2^-64 n.
  uint64_t below(uint64_t i, uint64_t n) const {
    return static_cast<uint64_t>((static_cast<unsigned __int128>(bits(i)) * n) >> 64);
  }

 private:
  uint32_t k0_, k1_, c2_, c3_;
};

// Which sample of the run each sequence at hand is: from `first` on, or those of a list.
class Samples {
 public:
  Samples(int64_t first = 0) : first_(first) {}
  explicit Samples(std::vector<int64_t> each) : each_(std::move(each)) {}
  int64_t operator[](int64_t b) const { return each_.empty() ? first_ + b : each_[static_cast<size_t>(b)]; }

 private:
  int64_t first_ = 0;
  std::vector<int64_t> each_;
};

}  // namespace effllm
