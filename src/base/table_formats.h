// Tables for other programs; those for people are in text.h.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace effllm {

// RFC 4180, with line breaks of one byte: cells are in quotes where they hold a comma, a quote or a line break.
std::string csv_table(const std::vector<std::vector<std::string>>& rows);
// LaTeX: a tabular with the rules of the package booktabs, the first row as header; what TeX takes for commands is
// escaped, line breaks are blanks, and numbers stand on the right.
std::string latex_table(const std::vector<std::vector<std::string>>& rows);

// Text between others in Markdown, one line: what Markdown or HTML would take for markup is escaped, but for `|`, which
// markdown_table() sees to.
std::string markdown_text(std::string_view text);

}  // namespace effllm
