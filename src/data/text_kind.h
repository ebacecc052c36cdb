// What a text is made of. It decides whether its characters can be counted, and so in which unit results are told.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

namespace effllm {

enum class TextKind { ascii, utf8, bytes, symbols /* of a task: no text */ };

std::string_view to_string(TextKind);  // "ascii", "utf-8", "bytes", "symbols"

struct TextFacts {
  TextKind kind = TextKind::ascii;
  int64_t characters = 0;  // code points; 0 where the text is not UTF-8
  int64_t malformed = -1;  // the first byte that is not UTF-8, where there is one
};
TextFacts examine_text(std::string_view text);
// "UTF-8, 1234 characters", "not UTF-8 (the first wrong byte is 0x8f at 17): told in bits per byte".
std::string describe(const TextFacts& facts, std::string_view text);

// What to tell of a text that begins with a byte order mark, which is no text but goes in as its first symbol: empty
// where it does not. UTF-16 begins so too, and is no text that can be learned as it is.
std::string byte_order_note(std::string_view text);

// How cross-entropy is told: of a character where the text has such, of a byte, or of a token where there is no text.
struct Measure {
  std::string_view metric, unit;  // the journal's column, and what a line on a terminal says
};
Measure measure_of(TextKind kind);

}  // namespace effllm
