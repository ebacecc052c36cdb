// What this machine can do, measured: the denominators of every speed that effllm reports.
#pragma once
#include <string>
#include <vector>

#include "bench/timing.h"
#include "tensor/tensor.h"

namespace effllm {

// The f32 1024^3 product on all threads, each with a block of rows: the rate P_1024 that steps are compared with.
class GemmProbe {
 public:
  GemmProbe();
  double operator()() const;  // GFLOP/s of one product
 private:
  Tensor a_, b_, c_;
};

double fma_peak(double seconds);  // GFLOP/s, f32 multiply-adds in registers on all threads, the best of so long

struct Bandwidth {
  int64_t bytes;  // of all threads together
  double read_gb_per_s;
};

struct Roofline {
  int threads = 1;
  double fma = 0;               // GFLOP/s, fma_peak
  Quantiles p1024;              // GFLOP/s
  double best = 0;              // GFLOP/s, the best of products of several shapes, P_best
  std::string best_shape;       // m x n x k, and how threads share it
  std::vector<Bandwidth> read;  // by footprint
  double triad_gb_per_s = 0;    // 12 bytes an element, 512 MiB
  Quantiles barrier_us;         // of an empty parallel region
  bool contended = false;
};

// Takes about `seconds`; the bandwidth of DRAM needs 0.5 GiB for a moment.
Roofline measure_roofline(double seconds = 3);

}  // namespace effllm
