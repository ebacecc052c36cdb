// Text for people: suggestions, tables, readable numbers.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace effllm {

// " Did you mean `x`?" for the candidate nearest to `word` (edit distance at most 2; 1 for words of up to 3 letters, 3
// for those of more than 8), else "".
std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

// Columns padded to their widest cell, the first row as header. Cells that look like numbers are right-aligned.
std::string table(const std::vector<std::vector<std::string>>& rows);
// The same as a Markdown table.
std::string markdown_table(const std::vector<std::vector<std::string>>& rows);

std::string human_count(double n);    // 12.3 K, 4.56 M
std::string human_bytes(double n);    // 1.50 GiB
std::string human_seconds(double s);  // 42 s, 3 min 05 s, 2 h 10 min
std::string join(std::span<const std::string> parts, std::string_view separator);
// Shortest text that reads back as the same number; "nan", "inf", "-inf" where it is none.
std::string shortest(double v);
// Control bytes as \x1b and bytes that are not UTF-8 as \xNN; newline and tab stay. Safe to print on a terminal.
std::string printable(std::string_view bytes);

}  // namespace effllm
