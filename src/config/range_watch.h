// What range a number that was read is held to, by where it was written.
#pragma once
#include <optional>
#include <utility>
#include <vector>

#include "config/options.h"

namespace effllm {

// While one lives, what is read on its thread (config/options.h) is noted in it; of several in the newest.
class RangeWatch {
 public:
  RangeWatch();
  ~RangeWatch();
  RangeWatch(const RangeWatch&) = delete;
  RangeWatch& operator=(const RangeWatch&) = delete;
  // Of the number at this place; unset where none was read there.
  std::optional<Range> at(const Mark& place) const;
  static void note(const Mark& place, Range range);

 private:
  RangeWatch* before_;
  std::vector<std::pair<Mark, Range>> seen_;
};

}  // namespace effllm
