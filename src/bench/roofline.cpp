#include "bench/roofline.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/parallel.h"
#include "kernels/probe.h"

namespace effllm {
namespace {

constexpr int64_t kCube = 1024;

// Best rate of `work` per second over repetitions for `seconds`, at least three of them.
double best_rate(double work, double seconds, const std::function<void()>& run) {
  run();
  double best = 0;
  const double start = seconds_now();
  for (int i = 0; i < 3 || seconds_now() - start < seconds; ++i) {
    const double t = seconds_now();
    run();
    best = std::max(best, work / (seconds_now() - t));
  }
  return best;
}

struct Product {
  int64_t m, n, k;
  bool transpose_a, transpose_b;
  bool shared;  // all threads in one product, or each in its own
};

// Whole matrices, and what a layer of width 384 or 128 does to a tile of tokens: forward, and the input's gradient.
constexpr Product kProducts[] = {
    {1024, 1024, 1024, false, false, true}, {1024, 1024, 1024, false, false, false},
    {256, 1536, 384, false, true, false},   {256, 384, 1536, false, true, false},
    {512, 384, 1536, false, false, false},  {512, 1536, 384, false, false, false},
    {512, 512, 128, false, true, false},    {384, 1536, 512, true, false, false},
};

double measure_product(const Product& p, double seconds) {
  const int workers = p.shared ? 1 : threads();
  struct Operands {
    Tensor a, b, c;
  };
  std::vector<Operands> all;
  for (int i = 0; i < workers; ++i)
    all.push_back({Tensor::full(p.transpose_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, DType::f32, 0.5),
                   Tensor::full(p.transpose_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, DType::f32, 0.25),
                   Tensor::zeros({p.m, p.n}, DType::f32)});
  const auto repeats = std::max<int64_t>(1, 200'000'000 / (p.m * p.n * p.k));
  const auto product = [&](int worker) {
    const Operands& o = all[static_cast<size_t>(worker)];
    for (int64_t i = 0; i < repeats; ++i)
      parallel_gemm<float>(p.transpose_a, p.transpose_b, p.m, p.n, p.k, o.a.data<float>(), o.a.stride(),
                           o.b.data<float>(), o.b.stride(), o.c.data<float>(), o.c.stride(), false);
  };
  const double work = 2.0 * static_cast<double>(p.m * p.n * p.k * repeats * workers);
  return 1e-9 * best_rate(work, seconds, [&] { p.shared ? product(0) : run_workers(workers, product); });
}

double measure_read(const Tensor& memory, int64_t bytes, double seconds) {
  const int64_t n = bytes / 4 / threads() / 1024 * 1024, repeats = std::max<int64_t>(1, (16 << 20) / bytes);
  std::vector<float> sums(static_cast<size_t>(threads()) * 16);
  const auto run = [&] {
    run_workers(threads(), [&](int worker) {
      float s = 0;
      for (int64_t i = 0; i < repeats; ++i) s += kernel::read_all<float>(memory.data<float>() + worker * n, n);
      sums[static_cast<size_t>(worker) * 16] = s;
    });
  };
  return 1e-9 * best_rate(static_cast<double>(4 * n * repeats * threads()), seconds, run);
}

double measure_triad(const Tensor& memory, double seconds) {
  const int64_t third = memory.numel() / 3 / 1024 * 1024;
  float* x = memory.data<float>();
  return 1e-9 * best_rate(12.0 * static_cast<double>(third), seconds, [&] {
           parallel_for(third, (third + threads() - 1) / threads(), [&](int64_t from, int64_t to) {
             kernel::triad<float>(x + third + from, x + 2 * third + from, 0.5F, x + from, to - from);
           });
         });
}

Quantiles measure_barrier() {
  std::vector<double> us;
  for (int i = 0; i < 2000; ++i) {
    const double t = seconds_now();
    run_workers(threads(), [](int) {});
    if (i >= 100) us.push_back(1e6 * (seconds_now() - t));
  }
  return quantiles(us);
}

}  // namespace

double fma_peak(double seconds) {
  constexpr int64_t kRounds = 100'000;
  const std::string chosen(isa());
  set_isa(isas().front());  // whatever EFFLLM_ISA says: the dense products don't follow it
  double operations = 0;
  const auto run = [&] {
    run_workers(threads(), [&](int worker) {
      alignas(64) float sink[16];
      const double n = kernel::fma_chains<float>(kRounds, sink);
      if (worker == 0) operations = n * threads();
    });
  };
  run();
  const double rate = 1e-9 * best_rate(operations, seconds, run);
  set_isa(chosen);
  return rate;
}

GemmProbe::GemmProbe()
    : a_(Tensor::full({kCube, kCube}, DType::f32, 0.5)),
      b_(Tensor::full({kCube, kCube}, DType::f32, 0.25)),
      c_(Tensor::zeros({kCube, kCube}, DType::f32)) {}

double GemmProbe::operator()() const {
  const double start = seconds_now();
  const int64_t block = (kCube + threads() - 1) / threads();
  parallel_for(kCube, block, [&](int64_t from, int64_t to) {
    gemm<float>(false, false, to - from, kCube, kCube, a_.data<float>() + from * a_.stride(), a_.stride(),
                b_.data<float>(), b_.stride(), c_.data<float>() + from * c_.stride(), c_.stride(), false);
  });
  return 2e-9 * kCube * kCube * kCube / (seconds_now() - start);
}

Roofline measure_roofline(double seconds) {
  const Neighbours neighbours;
  Roofline r;
  r.threads = threads();
  const double part = seconds / 24;
  r.fma = fma_peak(2 * part);
  const GemmProbe probe;
  std::vector<double> p1024;
  for (int i = 0; i < 15; ++i) p1024.push_back(probe());
  r.p1024 = quantiles(p1024);
  for (const Product& p : kProducts) {
    const double rate = measure_product(p, part);
    if (rate <= r.best) continue;
    r.best = rate;
    r.best_shape = fmt::format("{}{} x {}{} x {}, {}", p.m, p.transpose_a ? "^T" : "", p.n, p.transpose_b ? "^T" : "",
                               p.k, p.shared ? "all threads in one" : "one a thread");
  }
  const Tensor flat = Tensor::dense({int64_t{512} << 18}, DType::f32);
  fill(flat, 0);
  for (int64_t mib : {1, 4, 16, 64, 512}) r.read.push_back({mib << 20, measure_read(flat, mib << 20, part)});
  r.triad_gb_per_s = measure_triad(flat, part);
  r.barrier_us = measure_barrier();
  r.contended = neighbours.contended(r.threads);
  return r;
}

}  // namespace effllm
