// The speed of single ops and of whole mechanisms: forward and backward on all threads at once, each on data of its
// own, as in a training step.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "autodiff/tape.h"
#include "bench/timing.h"

namespace effllm {

// What one thread repeats: a call that is recorded and differentiated, and a decoded token where there is one.
struct BenchWork {
  Tensor input;                                // tracked while timed
  std::function<Tensor(const Tensor&)> run;    // owns what it needs
  std::function<void()> step = {};             // one token, with its state
  std::shared_ptr<ParamGrads> gradients = {};  // of the parameters that `run` owns
};

struct BenchCase {
  std::string name, shape;
  double tokens;                       // of one call
  std::function<BenchWork()> prepare;  // called on each thread
  Cost cost = {};                      // of a call that runs no op; otherwise counted
};

struct BenchRow {
  std::string name, shape;
  double forward_s = 0, backward_s = 0, step_s = 0;  // of a call, median; 0: there is none
  Quantiles whole_s;                                 // forward and backward together
  double tokens = 0;                                 // of a call, all threads together
  Cost cost;                                         // of a call, all threads together, counted
  double p1024 = 0;                                  // GFLOP/s beside it
  double forward_gflops() const { return forward_s > 0 ? 1e-9 * cost.forward_flops / forward_s : 0; }
  double backward_gflops() const { return backward_s > 0 ? 1e-9 * cost.backward_flops / backward_s : 0; }
  Quantiles ratio() const {  // of forward and backward together to P_1024
    const double work = 1e-9 * (cost.forward_flops + cost.backward_flops) / p1024;
    return {work / whole_s.median, work / whole_s.p90, work / whole_s.p10};
  }
};

struct BenchShape {
  int64_t width = 256, batch = 2, tokens = 256;  // of one thread's call
};

// Every mixer and channel mixer of the lists with its default options, and each under its variants where asked.
std::vector<BenchCase> mechanism_cases(const BenchShape& shape, bool variants);
std::vector<BenchCase> op_cases();
// `seconds` a case; the 1024^3 product runs before and after each.
BenchRow run_case(const BenchCase& c, double seconds);

}  // namespace effllm
