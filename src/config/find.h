// Look-up by name in a list of descriptors, each with a `std::string_view name`.
#pragma once
#include <span>
#include <string_view>
#include <vector>

#include "config/node.h"

namespace effllm {

// A ConfigError that names what is meant perhaps: "no mixer is called `gal`. Did you mean `gla`? ...".
[[noreturn]] void throw_unknown_name(std::string_view name, std::string_view kind,
                                     std::span<const std::string_view> known, const Mark& where);

// The descriptor called `name`. `kind` is the singular for messages ("mixer"), `where` the place that asks.
template <class Info>
const Info& find_by_name(std::span<const Info* const> all, std::string_view name, std::string_view kind,
                         const Mark& where) {
  std::vector<std::string_view> known;
  for (const Info* info : all) {
    if (info->name == name) return *info;
    known.push_back(info->name);
  }
  throw_unknown_name(name, kind, known, where);
}

}  // namespace effllm
