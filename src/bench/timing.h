// Medians, and whether other programs took part of the machine meanwhile.
#pragma once
#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace effllm {

struct Quantiles {
  double median = 0, p10 = 0, p90 = 0;
};
Quantiles quantiles(std::vector<double> samples);  // nearest rank; zeros of none

// CPUs that others had on average since construction: other processes and, in a virtual machine, other guests
// (/proc/stat: busy and stolen time, without this process's own).
class Neighbours {
 public:
  Neighbours();
  double cpus() const;
  // Whether that could have slowed `threads` threads: more than 3 % of them beyond the CPUs they leave free.
  bool contended(int threads) const;

 private:
  double start_, busy_, own_;
};

}  // namespace effllm
