// The random numbers of one sample, one after the other.
#pragma once
#include <numeric>
#include <utility>

#include "base/random.h"

namespace effllm {

class Draws {
 public:
  Draws(uint64_t seed, std::string_view purpose, uint64_t a = 0, uint64_t b = 0) : numbers_(seed, purpose, a, b) {}
  // Uniform in [0, n).
  int64_t below(int64_t n) { return static_cast<int64_t>(numbers_.below(next_++, static_cast<uint64_t>(n))); }
  int64_t between(int64_t least, int64_t most) { return least + below(most - least + 1); }
  bool coin() { return below(2) == 1; }
  bool chance(double p) { return numbers_.uniform(next_++) < p; }
  template <class T>
  const T& one_of(const std::vector<T>& all) {
    return all[static_cast<size_t>(below(static_cast<int64_t>(all.size())))];
  }
  // `count` different numbers of [0, n), in random order.
  std::vector<int64_t> distinct(int64_t count, int64_t n) {
    std::vector<int64_t> all(static_cast<size_t>(n));
    std::iota(all.begin(), all.end(), 0);
    for (int64_t i = 0; i < count; ++i)
      std::swap(all[static_cast<size_t>(i)], all[static_cast<size_t>(between(i, n - 1))]);
    all.resize(static_cast<size_t>(count));
    return all;
  }
  // An index, each as likely as its weight says; the weights add up to `total`.
  size_t weighted(const std::vector<int64_t>& weights, int64_t total) {
    int64_t left = below(total);
    size_t i = 0;
    while (left >= weights[i]) left -= weights[i++];
    return i;
  }

 private:
  RandomStream numbers_;
  uint64_t next_ = 0;
};

}  // namespace effllm
