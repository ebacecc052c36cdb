#include "autodiff/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>

#include "kernels/parallel.h"

namespace effllm {

Profile* Profile::active_ = nullptr;

namespace {

int64_t nanoseconds() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::atomic<uint64_t> generations{0};

}  // namespace

std::string_view to_string(Way w) { return w == Way::forward ? "forward" : w == Way::backward ? "backward" : "phase"; }

Profile::Profile() : generation_(++generations) {
  require(!active_, "one profile at a time");
  active_ = this;
}
Profile::~Profile() { active_ = nullptr; }

// The events of this thread: looked up once a profile.
Profile::Thread& Profile::mine() {
  static thread_local Thread* thread = nullptr;
  static thread_local uint64_t of = 0;
  if (of != generation_) {
    const std::lock_guard lock(mutex_);
    thread = &threads_.emplace_back();
    of = generation_;
  }
  return *thread;
}

Profile::Span::Span(std::string_view name, std::string_view layer, Way way, double flops, double bytes)
    : on_(active_ != nullptr) {
  if (!on_) return;
  Thread& t = active_->mine();
  open_ = {name, layer, way, flops, bytes, in_parallel() ? 1 : threads(), nanoseconds(), 0, t.innermost};
  t.innermost = this;
}

Profile::Span::~Span() {
  if (!on_) return;
  const int64_t length = nanoseconds() - open_.start;
  Thread& t = active_->mine();
  t.innermost = open_.outer;
  if (open_.outer) open_.outer->open_.inner += length;
  t.events.push_back({open_.name, open_.layer, open_.way, open_.flops, open_.bytes, open_.width, open_.start, length,
                      length - open_.inner});
}

std::vector<Profile::Row> Profile::rows() const {
  std::map<std::pair<std::string_view, Way>, Row> all;
  for (const Thread& t : threads_)
    for (const Event& e : t.events) {
      Row& r = all[{e.name, e.way}];
      r.name = e.name;
      r.way = e.way;
      ++r.calls;
      r.seconds += 1e-9 * static_cast<double>(e.own * e.width);
      r.flops += e.flops;
      r.bytes += e.bytes;
    }
  std::vector<Row> rows;
  for (auto& [key, row] : all) rows.push_back(std::move(row));
  std::ranges::stable_sort(rows, std::ranges::greater{}, &Row::seconds);
  return rows;
}

std::string Profile::chrome_trace() const {
  int64_t zero = INT64_MAX;
  for (const Thread& t : threads_)
    for (const Event& e : t.events) zero = std::min(zero, e.start);
  std::string s = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
  int number = 0;
  bool first = true;
  for (const Thread& t : threads_) {
    for (const Event& e : t.events) {
      s += fmt::format(
          "{}\n{{\"name\":\"{}\",\"cat\":\"{}\",\"ph\":\"X\",\"pid\":1,\"tid\":{},\"ts\":{:.3f},"
          "\"dur\":{:.3f},\"args\":{{\"layer\":\"{}\",\"flops\":{:.0f},\"bytes\":{:.0f}}}}}",
          first ? "" : ",", e.name, to_string(e.way), number, 1e-3 * static_cast<double>(e.start - zero),
          1e-3 * static_cast<double>(e.length), e.layer, e.flops, e.bytes);
      first = false;
    }
    ++number;
  }
  return s + "\n]}\n";
}

void Profile::clear() {
  for (Thread& t : threads_) t.events.clear();
}

}  // namespace effllm
