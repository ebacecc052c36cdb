// The time that has passed, whatever the calendar is set to.
#pragma once
#include <chrono>

namespace effllm {

// Seconds since a moment that stays the same while the process lives.
inline double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace effllm
