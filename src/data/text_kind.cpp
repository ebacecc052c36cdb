#include "data/text_kind.h"

#include <fmt/format.h>

#include "base/text.h"
#include "base/utf8.h"

namespace effllm {

namespace {

bool begins_as_utf16(std::string_view text) { return text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF"); }

}  // namespace

std::string byte_order_note(std::string_view text) {
  if (text.starts_with("\xEF\xBB\xBF"))
    return "begins with a byte order mark (U+FEFF), which goes in as its first character; `tail -c +4` leaves it out";
  if (begins_as_utf16(text))
    return "begins as UTF-16 does, and goes in byte by byte; `iconv -f utf-16 -t utf-8` makes it text";
  return "";
}

std::string_view to_string(TextKind kind) {
  switch (kind) {
    case TextKind::ascii:
      return "ascii";
    case TextKind::utf8:
      return "utf-8";
    case TextKind::bytes:
      return "bytes";
    case TextKind::symbols:
      break;
  }
  return "symbols";
}

TextFacts examine_text(std::string_view text) {
  TextFacts facts;
  for (size_t at = 0; at < text.size();) {
    if (static_cast<unsigned char>(text[at]) < 0x80) {  // most of most texts
      ++facts.characters, ++at;
      continue;
    }
    const size_t length = decode_utf8(text, at).length;
    if (length == 0) return {.kind = TextKind::bytes, .characters = 0, .malformed = static_cast<int64_t>(at)};
    facts.kind = TextKind::utf8;
    ++facts.characters;
    at += length;
  }
  return facts;
}

std::string describe(const TextFacts& facts, std::string_view text) {
  if (facts.kind != TextKind::bytes)
    return fmt::format("{}, {}", facts.kind == TextKind::ascii ? "ASCII" : "UTF-8",
                       counted(facts.characters, "character"));
  const auto at = static_cast<size_t>(facts.malformed);
  return fmt::format("not UTF-8 (the first wrong byte is 0x{:02x} at {}{}): results are told in bits per byte",
                     static_cast<unsigned char>(text[at]), at,
                     begins_as_utf16(text) ? "; it begins as UTF-16 does" : "");
}

Measure measure_of(TextKind kind) {
  if (kind == TextKind::bytes) return {.metric = "bpb", .unit = "bits/byte"};
  if (kind == TextKind::symbols) return {.metric = "loss", .unit = "bits/token"};
  return {.metric = "bpc", .unit = "bits/char"};
}

}  // namespace effllm
