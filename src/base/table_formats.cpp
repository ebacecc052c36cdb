#include "base/table_formats.h"

#include <cctype>
#include <string_view>

namespace effllm {
namespace {

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == text.npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string latex_cell(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const std::string_view rest = text.substr(i);
    const char c = text[i];
    if (rest.starts_with("\u00b1"))
      out += "$\\pm$", ++i;
    else if (rest.starts_with("<="))
      out += "$\\le$", ++i;
    else if (std::string_view("&%$#_{}").find(c) != std::string_view::npos)
      out += {'\\', c};
    else if (c == '\\')
      out += "\\textbackslash{}";
    else if (c == '\n' || c == '\r')
      out += ' ';
    else if (c == '~' || c == '^')
      out += std::string("\\") + c + "{}";
    else if (c == '<' || c == '>')
      out += std::string("$") + c + "$";
    else
      out += c;
  }
  return out;
}

// Whether all cells below the header are numbers or dashes.
bool numbers(const std::vector<std::vector<std::string>>& rows, size_t column) {
  bool any = false;
  for (size_t r = 1; r < rows.size(); ++r) {
    const std::string& cell = rows[r].at(column);
    if (cell == "-" || cell.empty()) continue;
    any = true;
    if (std::string_view("0123456789+-<").find(cell.front()) == std::string_view::npos) return false;
  }
  return any;
}

}  // namespace

std::string csv_table(const std::vector<std::vector<std::string>>& rows) {
  std::string out;
  for (const auto& row : rows)
    for (size_t c = 0; c < row.size(); ++c) out += csv_cell(row[c]) + (c + 1 < row.size() ? "," : "\n");
  return out;
}

std::string markdown_text(std::string_view text) {
  const auto is_word = [&](size_t i) { return i < text.size() && std::isalnum(static_cast<unsigned char>(text[i])); };
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i], next = i + 1 < text.size() ? text[i + 1] : ' ';
    const bool markup = std::string_view("\\`*[]~$").find(c) != std::string_view::npos ||
                        (c == '_' && !(i > 0 && is_word(i - 1) && is_word(i + 1))) ||
                        (c == '<' && (is_word(i + 1) || next == '/' || next == '!' || next == '?')) ||
                        (c == '&' && (is_word(i + 1) || next == '#'));
    if (markup) out += '\\';
    out += c == '\n' || c == '\r' ? ' ' : c;
  }
  return out;
}

std::string latex_table(const std::vector<std::vector<std::string>>& rows) {
  std::string out = "\\begin{tabular}{";
  for (size_t c = 0; c < rows.at(0).size(); ++c) out += numbers(rows, c) ? 'r' : 'l';
  out += "}\n\\toprule\n";
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < rows[r].size(); ++c) out += (c ? " & " : "") + latex_cell(rows[r][c]);
    out += r == 0 ? " \\\\\n\\midrule\n" : " \\\\\n";
  }
  return out + "\\bottomrule\n\\end{tabular}\n";
}

}  // namespace effllm
