// Requests in a row before the one thread that computes: a queue that says no.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>

namespace effllm {

class WorkQueue {
 public:
  explicit WorkQueue(int64_t most_waiting) : most_waiting_(most_waiting) {}

  // Waits until the computing thread has run `work`, and rethrows what it throws. `deadline`: seconds of seconds_now()
  // until which it must have begun. HttpError 429 where as many wait already as may, 504 where the deadline passed
  // first, 503 where the queue is closed.
  void run(const std::function<void()>& work, double deadline);
  // On the computing thread: runs what waits longest, or nothing came for so long.
  void serve(double seconds);
  // Requests that wait, and whether one is being computed.
  struct Load {
    int64_t waiting;
    bool working;
  };
  Load load();
  // From now on nothing begins: what waits and what comes is refused.
  void close();

 private:
  struct Item {
    const std::function<void()>* work;
    enum { waiting, running, done } state = waiting;
    std::exception_ptr failure;
  };
  const int64_t most_waiting_;
  std::mutex mutex_;
  std::condition_variable came_, changed_;
  std::deque<Item*> waiting_;  // they live on the stacks of run()
  bool working_ = false, closed_ = false;
};

}  // namespace effllm
