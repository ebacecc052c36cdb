#include "config/list.h"

#include <fmt/format.h>

#include "base/text.h"

namespace effllm {

std::string unknown_name(std::string_view name, std::string_view kind) {
  return fmt::format("no {} is called `{}`", kind, name.substr(0, 64));
}

// Edit distance is quadratic, and a word this long is no slip of a finger.
std::string suggestion(std::string_view name, std::span<const std::string_view> known) {
  return name.size() <= 64 ? did_you_mean(name, known) : "";
}

void throw_unknown_name(std::string_view name, std::string_view kind, std::span<const std::string_view> known,
                        const Mark& where) {
  throw_at(where,
           fmt::format("{}.{} `effllm list {}s` shows all.", unknown_name(name, kind), suggestion(name, known), kind));
}

}  // namespace effllm
