#include "data/example_prompt.h"

#include <algorithm>
#include <cctype>

#include "base/utf8.h"

namespace effllm {
namespace {

constexpr size_t kCharacters = 20, kSearched = 4096;

bool word_begins(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) || static_cast<unsigned char>(c) >= 0x80;
}
bool safe(uint32_t c) {
  constexpr std::string_view kRead = "\"$`\\!";
  const bool control = c < 0x20 || (c >= 0x7F && c < 0xA0);
  return !control && (c >= 0x80 || kRead.find(static_cast<char>(c)) == kRead.npos);
}

}  // namespace

std::string example_prompt(std::string_view text) {
  const auto first = std::ranges::find_if(text.substr(0, kSearched), word_begins);
  const std::string_view from = text.substr(static_cast<size_t>(first - text.begin()));
  size_t end = 0, count = 0, last_blank = 0;
  while (end < from.size() && count < kCharacters) {
    const CodePoint c = decode_utf8(from, end);
    if (c.length == 0) return "";
    if (!safe(c.value)) break;
    if (c.value == ' ') last_blank = end;
    end += c.length;
    ++count;
  }
  const bool in_word = end < from.size() && word_begins(from[end]) && from[end - (end > 0)] != ' ';
  if (in_word && last_blank > 0) end = last_blank;
  while (end > 0 && from[end - 1] == ' ') --end;
  return std::string(from.substr(0, end));
}

}  // namespace effllm
