#include "config/number_hint.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>

#include "base/text.h"

namespace effllm {
namespace {

bool digit(char c) { return c >= '0' && c <= '9'; }

// Without a plus sign and without separators between groups of three digits (commas, apostrophes) or any digits
// (underscores). Empty where they stand elsewhere.
std::string without_separators(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '_' && c != ',' && c != '\'') {
      out += c;
      continue;
    }
    const auto digits =
        static_cast<size_t>(std::ranges::find_if_not(text.substr(i + 1), digit) - (text.begin() + i + 1));
    if (i == 0 || !digit(text[i - 1]) || digits == 0 || (c != '_' && digits != 3)) return "";
  }
  return out;
}

// 010 is 8 to some readers: what was meant is not known.
bool parse(const std::string& text, double& value) {
  const size_t first = text.starts_with('-') ? 1 : 0;
  if (text.size() > first + 1 && text[first] == '0' && digit(text[first + 1])) return false;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc{} && end == text.data() + text.size() && std::isfinite(value);
}

}  // namespace

std::string integer_meant(std::string_view text) {
  constexpr double kExact = 9007199254740992;  // 2^53: every integer up to it is a double
  const std::string plain = without_separators(text);
  double value = 0;
  if (!parse(plain, value) || value != std::floor(value) || std::abs(value) > kExact) return "";
  return fmt::format("{}", static_cast<int64_t>(value));
}

std::string number_meant(std::string_view text) {
  double value = 0;
  return parse(without_separators(text), value) ? shortest(value) : "";
}

std::string_view truth_meant(std::string_view text) {
  std::string lower(text);
  std::ranges::transform(lower, lower.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  const auto one_of = [&](std::array<std::string_view, 4> words) {
    return std::ranges::find(words, lower) != words.end();
  };
  if (one_of({"true", "yes", "on", "1"})) return "true";
  return one_of({"false", "no", "off", "0"}) ? "false" : "";
}

}  // namespace effllm
