#include "checkpoint/metadata.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <limits>

#include "base/text.h"

namespace effllm {
namespace {

// The whole of `text` as a number; false where it isn't one, or doesn't fit.
template <class T>
bool parse(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

std::string abridged(const std::string& text) {
  const std::string line = text.substr(0, text.find('\n'));
  return printable(line.size() <= 60 && line.size() == text.size() ? line : line.substr(0, 60) + "...");
}

}  // namespace

void Metadata::refuse(const std::string& key, const std::string& what) const {
  throw CheckpointError("{}: the metadata's `{}` is `{}`: {}", path_, key, abridged(text(key)), what);
}

const std::string& Metadata::text(const std::string& key) const {
  const auto it = all_.find(key);
  if (it == all_.end())
    throw CheckpointError("{}: the metadata has no `{}`; is it a checkpoint of effllm?", path_, key);
  return it->second;
}

int64_t Metadata::integer(const std::string& key, int64_t least, int64_t most) const {
  int64_t value = 0;
  if (!parse(text(key), value) || value < least || value > most)
    refuse(key, fmt::format("an integer from {} to {} is needed; take another checkpoint", least, most));
  return value;
}

double Metadata::number(const std::string& key, double least) const {
  double value = 0;
  if (!parse(text(key), value) || !std::isfinite(value) || value < least)
    refuse(key, fmt::format("a finite number{} is needed; take another checkpoint",
                            std::isfinite(least) ? fmt::format(" from {}", least) : ""));
  return value;
}

double Metadata::number_or_nan(const std::string& key) const {
  return text(key) == "nan" ? std::nan("") : number(key, -std::numeric_limits<double>::infinity());
}

std::string Metadata::digest(const std::string& key) const {
  const std::string& value = text(key);
  if (value.size() != 64 || value.find_first_not_of("0123456789abcdef") != value.npos)
    refuse(key, "a SHA-256 of 64 lower-case hexadecimal digits is needed; take another checkpoint");
  return value;
}

}  // namespace effllm
