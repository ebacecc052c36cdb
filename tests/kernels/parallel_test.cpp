#include "kernels/parallel.h"

#include <doctest/doctest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("parallel_for: covers each item once, in blocks that no thread count changes") {
  const Threads restored(1);
  for (int n_threads : {1, 2, 3}) {
    set_threads(n_threads);
    for (int64_t n = 0; n <= 7; ++n)
      for (int64_t block : {1, 2, 7, 100}) {
        std::vector<std::atomic<int>> visits(static_cast<size_t>(n));
        std::set<std::pair<int64_t, int64_t>> blocks, expected;
        std::mutex lock;
        parallel_for(n, block, [&](int64_t from, int64_t to) {
          for (int64_t i = from; i < to; ++i) ++visits[static_cast<size_t>(i)];
          const std::lock_guard guard(lock);
          blocks.insert({from, to});
        });
        for (int64_t from = 0; from < n; from += block) expected.insert({from, std::min(from + block, n)});
        for (const auto& v : visits) CHECK(v == 1);
        CHECK(blocks == expected);
      }
  }
}

TEST_CASE("run_workers: each worker runs once, number 0 on the caller's thread") {
  for (int n : {1, 2, 3, 5}) {
    std::vector<std::atomic<int>> runs(static_cast<size_t>(n));
    std::thread::id first;
    run_workers(n, [&](int worker) {
      ++runs[static_cast<size_t>(worker)];
      if (worker == 0) first = std::this_thread::get_id();
    });
    for (const auto& r : runs) CHECK(r == 1);
    CHECK(first == std::this_thread::get_id());
  }
}

TEST_CASE("run_workers: inside, parallel_for and more workers run on the worker's own thread, none is left out") {
  CHECK_FALSE(in_parallel());
  std::atomic<int> strangers = 0, items = 0, inner = 0;
  run_workers(2, [&](int) {
    const auto self = std::this_thread::get_id();
    if (!in_parallel()) ++strangers;
    parallel_for(6, 1, [&](int64_t, int64_t) {
      ++items;
      if (std::this_thread::get_id() != self) ++strangers;
    });
    run_workers(3, [&](int) { ++inner; });
    if (!in_parallel()) ++strangers;
  });
  CHECK(strangers == 0);
  CHECK(items == 12);
  CHECK(inner == 6);
  CHECK_FALSE(in_parallel());
}

TEST_CASE("run_workers: an exception comes out after all have ended, and threads work again") {
  for (int thrower : {0, 1, 2}) {
    std::atomic<int> ended = 0;
    const auto run = [&] {
      run_workers(3, [&](int worker) {
        if (worker == thrower) throw std::runtime_error("worker");
        ++ended;
      });
    };
    CHECK_THROWS_WITH_AS(run(), "worker", std::runtime_error);
    CHECK(ended == 2);
    CHECK_FALSE(in_parallel());
  }
  CHECK_THROWS_AS(run_workers(4, [](int) { throw std::logic_error("all"); }), std::logic_error);
  std::atomic<int> runs = 0;
  run_workers(3, [&](int) { ++runs; });
  CHECK(runs == 3);
}

TEST_CASE("parallel_for: an exception comes out with any number of threads") {
  const Threads restored(1);
  for (int n : {1, 2, 3}) {
    set_threads(n);
    CHECK_THROWS_AS(parallel_for(8, 1,
                                 [](int64_t from, int64_t) {
                                   if (from == 5) throw std::runtime_error("block");
                                 }),
                    std::runtime_error);
  }
}

TEST_CASE("threads: at least one, and as many as asked for") {
  const Threads restored(1);
  CHECK(available_cpus() >= 1);
  set_threads(0);
  CHECK(threads() == 1);
  set_threads(3);
  CHECK(threads() == 3);
}
