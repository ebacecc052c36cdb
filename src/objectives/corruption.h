// How noise takes the place of tokens over a time from 0 to 1: MASK, tokens drawn from the vocabulary, or both.
#pragma once
#include <array>
#include <cstdint>

#include "base/random.h"

namespace effllm {

// What a token is at a time: itself with probability `keep`, MASK with `mask`, otherwise a random one of the
// vocabulary. The rates are those at which noise flows into MASK and into all tokens together: (share)' - keep' / keep
// share.
struct Corruption {
  double keep, mask, random;
  double into_mask, into_random;
  // What corruption_loss asks of a token x of `vocab` that has become z: keep, the share of each random token, and the
  // weight, rate into z / q(z | x).
  std::array<double, 3> terms(int32_t x, int32_t z, int64_t vocab) const {
    const double each = random / static_cast<double>(vocab);
    if (z == vocab) return {keep, each, into_mask / mask};
    return {keep, each, into_random / static_cast<double>(vocab) / (each + (z == x ? keep : 0))};
  }
  // What token `id` of `vocab` has become by two numbers in [0, 1), the second of which draws.
  int32_t draw(int32_t id, int64_t vocab, double v, uint64_t drawn) const {
    if (v < keep) return id;
    return v < keep + mask ? static_cast<int32_t>(vocab) : static_cast<int32_t>(drawn);
  }
};

// p_uniform 1: random tokens alone, keep = 1 - t (Schiff et al. 2024, arXiv:2412.10193). Below: MASK at the end, and of
// all tokens p_uniform are random half of the way, (1 - t, t, c) / (1 + c) with c = 2 p_uniform / (1 - p_uniform)
// sqrt(t (1 - t)) (von Ruette et al. 2025, arXiv:2503.04482, gamma 1).
class CorruptionSchedule {
 public:
  explicit CorruptionSchedule(double p_uniform) : p_uniform_(p_uniform) {}
  Corruption at(double t) const;
  bool masks() const { return p_uniform_ < 1; }
  // A time for each u in [0, 1), more of them near 0, where losses are large and rare, and dt / du: u^2 of random
  // tokens alone, u^4 otherwise, which keeps the variance of the losses finite.
  struct Time {
    double t, slope;
  };
  Time time(double u) const;

 private:
  double p_uniform_;
};

}  // namespace effllm
