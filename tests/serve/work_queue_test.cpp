#include "serve/work_queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "serve/http_error.h"

using namespace effllm;

namespace {

int status_of(
    WorkQueue& q, double seconds, const std::function<void()>& work = [] {}) {
  try {
    q.run(work, seconds_now() + seconds);
    return 200;
  } catch (const HttpError& e) {
    return e.status;
  }
}

}  // namespace

TEST_CASE("work queue: work runs on the thread that serves, in the order it came, and its errors come back") {
  WorkQueue q(10);
  std::atomic<bool> ended = false;
  std::thread::id ran;
  std::thread asks([&] {
    CHECK(status_of(q, 60, [&] { ran = std::this_thread::get_id(); }) == 200);
    CHECK(status_of(q, 60, [] { throw HttpError(418, "short and stout"); }) == 418);
    CHECK_THROWS_AS(q.run([] { throw 7; }, seconds_now() + 60), int);
    ended = true;
  });
  while (!ended) q.serve(0.01);
  asks.join();
  CHECK(ran == std::this_thread::get_id());
}

TEST_CASE("work queue: what is one too many, too late or comes when it is closed is refused") {
  WorkQueue q(2);
  CHECK(status_of(q, 0.05) == 504);  // nobody serves
  CHECK(q.load().waiting == 0);
  std::vector<std::thread> wait;
  for (int i = 0; i < 3; ++i)
    wait.emplace_back([&] { CHECK(status_of(q, 1000) == 503); });  // one is about to be in work
  while (q.load().waiting < 3) std::this_thread::yield();
  CHECK(status_of(q, 1) == 429);
  q.close();
  for (std::thread& t : wait) t.join();
  CHECK(status_of(q, 1000) == 503);
}
