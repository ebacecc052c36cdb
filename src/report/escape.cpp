#include "report/escape.h"

#include <fmt/format.h>

#include "base/text.h"

namespace effllm {
namespace {

// U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069: E2 80 or E2 81, and a third byte. 0 where it is none.
unsigned turns_direction(std::string_view s) {
  if (s.size() < 3 || s[0] != '\xe2') return 0;
  const auto second = static_cast<unsigned char>(s[1]), third = static_cast<unsigned char>(s[2]);
  const unsigned code = 0x2000u + (second & 0x3fu) * 64u + (third & 0x3fu);
  const bool turns =
      (code >= 0x200e && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
  return turns ? code : 0;
}

}  // namespace

std::string html(std::string_view text) {
  std::string out;
  const std::string shown = printable(text);
  for (size_t i = 0; i < shown.size(); ++i) {
    const char c = shown[i];
    if (const unsigned code = turns_direction(std::string_view(shown).substr(i)))
      out += fmt::format("&lt;U+{:04X}&gt;", code), i += 2;
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += c;
  }
  return out;
}

std::string script_json(const nlohmann::json& j) {
  std::string out;
  for (const char c : j.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace))
    c == '<' || c == '>' || c == '&' ? out += fmt::format("\\u{:04x}", static_cast<unsigned>(c)) : out += c;
  return out;
}

}  // namespace effllm
