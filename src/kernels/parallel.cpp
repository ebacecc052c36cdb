#include "kernels/parallel.h"

#include <omp.h>
#include <sched.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <utility>

#include "base/limits.h"

namespace effllm {
namespace {

int wanted = 0;
thread_local bool inside = false;

// CPUs that the cgroup's quota allows.
int quota() { return std::max(1, static_cast<int>(std::lround(std::min(cgroup_cpu_limit(), 0x1p20)))); }

// Subnormal numbers, which decaying states produce, cost a hundred times a normal operation: they count as zero, on
// every thread alike.
void flush_subnormals() {
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040);
#endif
}

struct Guard {
  bool before = std::exchange(inside, true);
  Guard() { flush_subnormals(); }
  ~Guard() { inside = before; }
};

// Exceptions must not leave a parallel region: the first one waits here for its end.
class FirstError {
 public:
  template <class F>
  void watch(F&& f) {
    try {
      f();
    } catch (...) {
      if (!failed_.test_and_set()) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  std::atomic_flag failed_ = ATOMIC_FLAG_INIT;
  std::exception_ptr error_;
};

}  // namespace

int available_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  const int affinity = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return std::min(affinity, quota());
}

void set_threads(int n) {
  wanted = std::max(1, n);
  flush_subnormals();
  omp_set_dynamic(0);
  omp_set_num_threads(1);  // libraries that ask OpenMP stay on the calling thread; our regions name their size
}

int threads() {
  if (wanted == 0) {
    const char* env = std::getenv("EFFLLM_THREADS");
    const int n = env ? std::atoi(env) : 0;
    set_threads(n > 0 ? n : available_cpus());
  }
  return wanted;
}

bool in_parallel() { return inside; }

namespace detail {

void run_workers(int n, void (*call)(void*, int), void* context) {
  threads();
  FirstError error;
#pragma omp parallel num_threads(n)
  {
    const Guard guard;
    // One each, unless a limit outside of us (OMP_THREAD_LIMIT) grants fewer threads: no worker may be left out.
    for (int worker = omp_get_thread_num(); worker < n; worker += omp_get_num_threads())
      error.watch([&] { call(context, worker); });
  }
  error.rethrow();
}

void run_blocks(int64_t blocks, void (*call)(void*, int64_t), void* context) {
  const int n = static_cast<int>(std::min<int64_t>(blocks, threads()));
  if (inside || n <= 1) {
    for (int64_t i = 0; i < blocks; ++i) call(context, i);
    return;
  }
  FirstError error;
#pragma omp parallel for schedule(dynamic) num_threads(n)
  for (int64_t i = 0; i < blocks; ++i) {
    const Guard guard;
    error.watch([&] { call(context, i); });
  }
  error.rethrow();
}

}  // namespace detail
}  // namespace effllm
