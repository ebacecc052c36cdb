#include "cli_validators.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "config/number_hint.h"

namespace effllm::app {
namespace {

template <class T>
bool parse(const std::string& text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

// "must be WANTED, not TEXT", with how to write it where that is clear; empty where it is right.
std::string wrong(bool right, std::string_view wanted, const std::string& text) {
  if (right) return "";
  const std::string meant = integer_meant(text);
  return fmt::format("must be {}, not `{}`{}", wanted, text,
                     meant.empty() || meant == text ? "" : fmt::format("; write {}", meant));
}

}  // namespace

CLI::Validator positive() {
  return CLI::Validator(
      [](const std::string& text) {
        int64_t n = 0;
        return wrong(parse(text, n) && n > 0, "an integer above 0", text);
      },
      "POSITIVE");
}

CLI::Validator integer(int64_t lowest, int64_t highest) {
  return CLI::Validator(
      [=](const std::string& text) {
        int64_t n = 0;
        return wrong(parse(text, n) && n >= lowest && n <= highest,
                     fmt::format("an integer of {} to {}", lowest, highest), text);
      },
      fmt::format("{}-{}", lowest, highest));
}

CLI::Validator seconds() {
  return CLI::Validator(
      [](const std::string& text) {
        double v = 0;
        return wrong(parse(text, v) && v >= 0 && v <= 1e6, "seconds, 0 to 1000000", text);
      },
      "SECONDS");
}

CLI::Validator not_empty(const std::string& why) {
  return CLI::Validator([why](const std::string& text) { return text.empty() ? "must not be empty: " + why : ""; },
                        "TEXT");
}

CLI::Validator one_of(std::vector<std::string> words) {
  std::string shown = fmt::format("{}", fmt::join(words, "|"));
  return CLI::Validator(
      [words = std::move(words)](const std::string& text) {
        if (std::ranges::find(words, text) != words.end()) return std::string();
        return fmt::format("must be {}, not `{}`.{}", fmt::join(words, ", "), text, did_you_mean(text, words));
      },
      shown);
}

}  // namespace effllm::app
