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

// Columns padded to their widest cell, the first row as header. Cells that begin with a number stand on the right,
// their points and units below each other; durations are no decimals, and end below each other. Where the rows are
// longer than `most` characters (0: as long as they like), columns of text are narrowed and their cells go on in the
// next line.
std::string table(const std::vector<std::vector<std::string>>& rows, size_t most);
std::string table(const std::vector<std::vector<std::string>>& rows);  // as standard output shows it: output_columns()
// The same as a Markdown table.
std::string markdown_table(const std::vector<std::vector<std::string>>& rows);
// The text in lines of at most `most` characters, broken at blanks, and inside words that are longer.
std::vector<std::string> wrapped(std::string_view text, size_t most);

// The one way that numbers are written for people, in the terminal and in documents.
std::string human_count(double n);  // three digits: 999, 12.3 K, 4.56 M
// Numbers of things, with the word for one of them: 1 token, 12345 tokens; the same by human_count: 12.3 K tokens.
std::string counted(int64_t n, std::string_view thing);
std::string human_counted(double n, std::string_view thing);
std::string human_bytes(double n);       // the same by powers of 1024: 512 KiB, 8.00 MiB
std::string human_percent(double part);  // of 1, with one decimal: 31.2 %
std::string human_seconds(double s);     // 42 s, 3 min 05 s, 2 h 10 min
std::string readable(double v);          // a fraction that is no short decimal by its parts: 8/3; otherwise shortest()
std::string join(std::span<const std::string> parts, std::string_view separator);
// Shortest text that reads back as the same number; "nan", "inf", "-inf" where it is none.
std::string shortest(double v);
// Control bytes as \x1b and bytes that are not UTF-8 as \xNN; newline and tab stay. Safe to print on a terminal.
std::string printable(std::string_view bytes);

}  // namespace effllm
