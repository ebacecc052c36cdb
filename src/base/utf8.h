// UTF-8 by code points, strict: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace effllm {

struct CodePoint {
  uint32_t value = 0;
  size_t length = 0;  // bytes; 0 where the bytes are malformed
};

// The code point that starts at s[at]; `at` must be below s.size().
CodePoint decode_utf8(std::string_view s, size_t at);
// Appends the UTF-8 form of a valid code point.
void append_utf8(std::string& out, uint32_t code_point);
bool is_utf8(std::string_view s);
// The nearest offset at or before `at` that doesn't cut a code point of the UTF-8 text `s`.
size_t code_point_border(std::string_view s, size_t at);

}  // namespace effllm
