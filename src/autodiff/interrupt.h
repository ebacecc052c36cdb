// Giving up what is being computed, between two ops.
#pragma once
#include <atomic>
#include <functional>

namespace effllm {

// What an interrupted computation throws. No std::exception: nothing failed, and who asked for it is who catches it.
struct Interrupted {};

// While alive, each op on each thread is preceded by a question, forwards and backwards: where the answer is yes,
// Interrupted is thrown instead. One at a time, made and destroyed outside of parallel regions.
class Interrupt {
 public:
  explicit Interrupt(std::function<bool()> wanted);  // asked by any thread
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;
  static void check() {
    if (const Interrupt* i = current_.load(std::memory_order_acquire); i && i->wanted_()) [[unlikely]]
      throw Interrupted();
  }

 private:
  std::function<bool()> wanted_;
  static std::atomic<const Interrupt*> current_;
};

}  // namespace effllm
