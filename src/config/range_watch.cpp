#include "config/range_watch.h"

namespace effllm {
namespace {

thread_local RangeWatch* newest = nullptr;

bool same(const Mark& a, const Mark& b) { return a.source == b.source && a.line == b.line && a.column == b.column; }

}  // namespace

RangeWatch::RangeWatch() : before_(newest) { newest = this; }
RangeWatch::~RangeWatch() { newest = before_; }

std::optional<Range> RangeWatch::at(const Mark& place) const {
  for (const auto& [mark, range] : seen_)
    if (same(mark, place)) return range;
  return std::nullopt;
}

void RangeWatch::note(const Mark& place, Range range) {
  if (newest && place.line > 0) newest->seen_.emplace_back(place, range);
}

}  // namespace effllm
