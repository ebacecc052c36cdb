#include "serve/work_queue.h"

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
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
  std::vector<int> statuses(3);
  std::vector<std::thread> all;
  for (int& status : statuses) all.emplace_back([&] { status = status_of(q, 0.3); });
  for (std::thread& t : all) t.join();  // nobody serves
  std::sort(statuses.begin(), statuses.end());
  CHECK(statuses == std::vector{429, 504, 504});

  std::thread waits([&] { CHECK(status_of(q, 60) == 503); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  q.close();
  waits.join();
  CHECK(status_of(q, 60) == 503);
}
