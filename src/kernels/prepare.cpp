#include "kernels/prepare.h"

#include <execinfo.h>

#include <cstdlib>
#include <latch>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "base/out_of_memory.h"
#include "base/text.h"
#include "kernels/gemm.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

// Whether the system gives this many threads at once. They have ended when it returns; their stacks are used again.
void try_threads(int n) {
  std::latch go(1);
  std::vector<std::thread> all;
  const auto end = [&] {
    go.count_down();
    for (std::thread& t : all) t.join();
  };
  try {
    all.reserve(static_cast<size_t>(n));
    for (int i = 0; i < n; ++i) all.emplace_back([&go] { go.wait(); });
  } catch (const std::exception&) {
    const size_t started = all.size();
    end();
    throw OutOfMemory("the system gives {} of {}", started + 1, counted(n + 1, "thread"));
  }
  end();
}

}  // namespace

void prepare_threads() {
  const Activity activity("starting threads", "take fewer (--threads)");
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads libgcc_s, which the end of a thread and a cancelled one need
  try_threads(threads() - 1);
  std::mutex one;
  run_workers(threads(), [&](int) {
    const std::lock_guard lock(one);
    prepare_gemm();
  });
}

}  // namespace effllm
