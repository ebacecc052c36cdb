#include "config/find.h"

#include <fmt/format.h>

#include "base/text.h"

namespace effllm {
void throw_unknown_name(std::string_view name, std::string_view kind, std::span<const std::string_view> known,
                        const Mark& where) {
  // Edit distance is quadratic, and a word this long is no slip of a finger.
  const std::string suggestion = name.size() <= 64 ? did_you_mean(name, known) : "";
  throw_at(where, fmt::format("no {0} is called `{1}`.{2} `effllm list {0}s` shows all.", kind, name.substr(0, 64),
                              suggestion));
}

}  // namespace effllm
