#include "base/escapes.h"

#include <fmt/format.h>

#include <charconv>

#include "base/text.h"

namespace effllm {
namespace {

constexpr std::string_view kLetters = "ntr\\", kMeant = "\n\t\r\\", kUrl = "file://";

}  // namespace

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t known = text[i] == '\\' && i + 1 < text.size() ? kLetters.find(text[i + 1]) : kLetters.npos;
    out += known == kLetters.npos ? text[i] : kMeant[known];
    i += known != kLetters.npos;
  }
  return out;
}

std::string escape(std::string_view text) {
  std::string out;
  size_t plain = 0;  // where the bytes begin that are not in `out` yet
  for (size_t i = 0; i < text.size(); ++i) {
    const size_t known = kMeant.find(text[i]);
    if (known == kMeant.npos) continue;
    out += printable(text.substr(plain, i - plain)) + '\\' + kLetters[known];
    plain = i + 1;
  }
  return out + printable(text.substr(plain));
}

std::string base64(std::string_view bytes) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view three = bytes.substr(i, 3);
    uint32_t bits = 0;
    for (size_t k = 0; k < 3; ++k) bits = bits << 8 | (k < three.size() ? static_cast<unsigned char>(three[k]) : 0u);
    for (size_t k = 0; k < 4; ++k) out += k <= three.size() ? kDigits[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::string path_text(const std::filesystem::path& path) {
  const std::string& bytes = path.native();
  if (printable(bytes) == bytes) return bytes;
  std::string out(kUrl);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    out += byte > 0x20 && byte < 0x7F && c != '%' ? std::string(1, c) : fmt::format("%{:02X}", byte);
  }
  return out;
}

std::filesystem::path path_of_text(std::string_view text) {
  if (!text.starts_with(kUrl)) return text;
  text.remove_prefix(kUrl.size());
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned byte = 0;
    const std::string_view digits = text.substr(std::min(i + 1, text.size()), 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    const bool encoded = text[i] == '%' && error == std::errc() && end == digits.data() + 2;
    bytes += encoded ? static_cast<char>(static_cast<unsigned char>(byte)) : text[i];
    i += encoded ? 2 : 0;
  }
  return bytes;
}

std::string shell_word(const std::string& text) {
  constexpr auto kSafe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./=,:@%";
  if (!text.empty() && text.find_first_not_of(kSafe) == text.npos) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

}  // namespace effllm
