// Threads. The only file pair that knows OpenMP. Two ways to use them, never nested:
// workers that each take whole shards (training), and parallel_for inside one operation (decoding, one long sequence).
#pragma once
#include <cstdint>
#include <utility>

namespace effllm {

// Threads that the next parallel region may use. Default: the CPUs that this process may run on, capped by the
// cgroup's quota; EFFLLM_THREADS overrides.
void set_threads(int n);
int threads();
int available_cpus();

namespace detail {
void run_workers(int n, void (*call)(void*, int), void* context);
void run_blocks(int64_t blocks, void (*call)(void*, int64_t), void* context);
}  // namespace detail

// Runs f(worker) once on each of n threads, at once; worker 0 is the caller's thread. Inside, parallel_for is
// sequential. The first exception is rethrown after all have ended.
template <class F>
void run_workers(int n, F&& f) {
  detail::run_workers(
      n, [](void* c, int worker) { (*static_cast<std::remove_reference_t<F>*>(c))(worker); },
      const_cast<std::remove_const_t<std::remove_reference_t<F>>*>(&f));
}

// f(from, to) over blocks of `block` items that depend on n and `block` alone, so that results can't depend on the
// number of threads. Sequential inside a worker, or where there is one block. The first exception is rethrown.
template <class F>
void parallel_for(int64_t n, int64_t block, F&& f) {
  struct Blocks {
    F& f;
    int64_t n, block;
  } blocks{f, n, block};
  detail::run_blocks((n + block - 1) / block,
                     [](void* c, int64_t i) {
                       auto& k = *static_cast<Blocks*>(c);
                       const int64_t from = i * k.block, to = from + k.block;
                       k.f(from, to < k.n ? to : k.n);
                     },
                     &blocks);
}

// True inside run_workers, and inside a parallel_for that runs on several threads.
bool in_parallel();

}  // namespace effllm
