#include "serve/work_queue.h"

#include <fmt/format.h>

#include <chrono>

#include "base/clock.h"
#include "serve/http_error.h"

namespace effllm {
namespace {

std::chrono::duration<double> from_now(double seconds) { return std::chrono::duration<double>(seconds); }

}  // namespace

void WorkQueue::run(const std::function<void()>& work, double deadline) {
  Item item{.work = &work, .failure = {}};
  std::unique_lock lock(mutex_);
  if (closed_) throw HttpError(503, "the server is ending", "", "ending");
  // Where none is in work, the first that waits is about to be.
  if (static_cast<int64_t>(waiting_.size()) >= most_waiting_ + (working_ ? 0 : 1))
    throw HttpError(429, fmt::format("{} requests wait already (--queue): ask again later", most_waiting_), "",
                    "queue_full");
  waiting_.push_back(&item);
  came_.notify_one();
  while (item.state == Item::waiting && !closed_) {
    const double left = deadline - seconds_now();
    if (left > 0) {
      changed_.wait_for(lock, from_now(left));
      continue;
    }
    std::erase(waiting_, &item);
    throw HttpError(504, "the request's time was over before its turn came (--timeout)", "", "timeout");
  }
  if (item.state == Item::waiting) {  // closed
    std::erase(waiting_, &item);
    throw HttpError(503, "the server is ending", "", "ending");
  }
  changed_.wait(lock, [&] { return item.state == Item::done; });
  if (item.failure) std::rethrow_exception(item.failure);
}

void WorkQueue::serve(double seconds) {
  std::unique_lock lock(mutex_);
  if (!came_.wait_for(lock, from_now(seconds), [&] { return !waiting_.empty(); })) return;
  Item& item = *waiting_.front();
  waiting_.pop_front();
  item.state = Item::running;
  working_ = true;
  lock.unlock();
  std::exception_ptr failure;
  try {
    (*item.work)();
  } catch (...) {  // whatever it is, it is the request's
    failure = std::current_exception();
  }
  lock.lock();
  item.failure = failure;
  item.state = Item::done;
  working_ = false;
  changed_.notify_all();
}

WorkQueue::Load WorkQueue::load() {
  const std::lock_guard lock(mutex_);
  return {static_cast<int64_t>(waiting_.size()), working_};
}

void WorkQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  changed_.notify_all();
}

}  // namespace effllm
