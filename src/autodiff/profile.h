// Where the time goes: a span for every op, forward and backward, and for the phases of a step, on every thread.
#pragma once
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "autodiff/op.h"

namespace effllm {

enum class Way { forward, backward, phase };
std::string_view to_string(Way);

// While alive, records what runs on all threads. One at a time; make and destroy it where nothing runs.
class Profile {
 public:
  Profile();
  ~Profile();
  Profile(const Profile&) = delete;
  Profile& operator=(const Profile&) = delete;

  // Times one piece of work while alive. Names must outlive the profile.
  class Span {
   public:
    Span(std::string_view name, std::string_view layer, Way way, double flops = 0, double bytes = 0);
    ~Span();
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;

   private:
    struct Open {
      std::string_view name, layer;
      Way way;
      double flops, bytes;
      int width;             // threads that share the work
      int64_t start, inner;  // nanoseconds; of spans inside this one
      Span* outer;
    };
    friend class Profile;
    bool on_;
    Open open_;
  };

  struct Row {
    std::string name;
    Way way;
    int64_t calls = 0;
    double seconds = 0, flops = 0, bytes = 0;  // own time without that of spans inside, of all threads that share it
  };
  std::vector<Row> rows() const;     // one a name and way, longest first, summed over threads
  std::string chrome_trace() const;  // JSON for chrome://tracing or Perfetto
  void clear();
  static bool on() { return active_ != nullptr; }

 private:
  struct Event {
    std::string_view name, layer;
    Way way;
    double flops, bytes;
    int width;
    int64_t start, length, own;
  };
  struct Thread {
    std::vector<Event> events;
    Span* innermost = nullptr;
  };
  Thread& mine();

  mutable std::mutex mutex_;
  std::deque<Thread> threads_;
  uint64_t generation_;
  static Profile* active_;
};

}  // namespace effllm
