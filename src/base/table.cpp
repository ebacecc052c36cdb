#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "base/terminal.h"
#include "base/text.h"

namespace effllm {
namespace {

using Rows = std::vector<std::vector<std::string>>;

constexpr size_t kGap = 2;     // blanks between columns
constexpr size_t kLeast = 12;  // characters that a column of text keeps, where it has as many

// Characters, not bytes: continuation bytes of UTF-8 take no room on a terminal.
size_t width(std::string_view s) {
  return static_cast<size_t>(std::ranges::count_if(s, [](char c) { return (c & 0xC0) != 0x80; }));
}

bool digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// A number with what follows it: "-12", ".5", " MiB".
struct Number {
  std::string_view whole, fraction, unit;
};
bool read_number(std::string_view s, Number& n) {
  size_t i = s.starts_with('-') || s.starts_with('<') ? 1 : 0;
  const size_t first = i;
  while (i < s.size() && digit(s[i])) ++i;
  if (i == first) return false;  // a number, but no `--flag` and no lone dash
  n.whole = s.substr(0, i);
  const size_t point = i;
  if (i < s.size() && s[i] == '.')
    for (++i; i < s.size() && digit(s[i]);) ++i;
  n.fraction = s.substr(point, i - point);
  n.unit = s.substr(i);
  return n.unit.empty() || (n.unit[0] == ' ' && !n.unit.starts_with(" to "));  // a range is no number
}

// "42 s", "1 min 14 s": no decimals, whose points would stand below each other.
bool is_duration(std::string_view unit) { return unit == " s" || unit.starts_with(" min ") || unit.starts_with(" h "); }

// What is known of a column: numbers stand with their points and units below each other, durations on the right.
struct Column {
  size_t width = 0, whole = 0, fraction = 0, unit = 0;
  bool numbers = false, durations = false;

  // Of numbers where all that is not left open is one.
  Column(const Rows& rows, size_t c) {
    size_t text = 0, texts = 0, count = 0;
    for (size_t r = 0; r < rows.size(); ++r) {
      if (c >= rows[r].size()) continue;
      const std::string& s = rows[r][c];
      text = std::max(text, effllm::width(s));
      Number n;
      if (r == 0 || s.empty() || s == "-") continue;
      if (!read_number(s, n)) {
        ++texts;
        continue;
      }
      ++count;
      durations = durations || is_duration(n.unit);
      whole = std::max(whole, effllm::width(n.whole));
      fraction = std::max(fraction, effllm::width(n.fraction));
      unit = std::max(unit, effllm::width(n.unit));
    }
    numbers = count > 0 && texts == 0;
    if (durations) whole = text, fraction = unit = 0;
    width = numbers ? std::max(text, whole + fraction + unit) : text;
  }
};

std::string blanks(size_t n) { return std::string(n, ' '); }

std::string cell(const std::string& text, const Column& c, bool header) {
  Number n;
  if (!c.numbers) return text;
  if (header || c.durations || !read_number(text, n)) return blanks(c.width - std::min(c.width, width(text))) + text;
  const std::string aligned = blanks(c.whole - width(n.whole)) + std::string(n.whole) + std::string(n.fraction) +
                              blanks(c.fraction - width(n.fraction)) + std::string(n.unit) +
                              blanks(c.unit - width(n.unit));
  return blanks(c.width - std::min(c.width, width(aligned))) + aligned;
}

size_t longest_word(std::string_view s) {
  size_t longest = 0, now = 0;
  for (char c : s) {
    now = c == ' ' ? 0 : now + ((c & 0xC0) != 0x80);
    longest = std::max(longest, now);
  }
  return longest;
}

// Takes a character at a time from the widest column that has more than its least.
void narrow(std::vector<Column>& columns, const std::vector<size_t>& least, size_t& all, size_t most) {
  while (all > most) {
    size_t widest = columns.size();
    for (size_t c = 0; c < columns.size(); ++c)
      if (columns[c].width > least[c] && (widest == columns.size() || columns[c].width > columns[widest].width))
        widest = c;
    if (widest == columns.size()) return;
    --columns[widest].width;
    --all;
  }
}

// Narrows the columns until all of them fit: as long as words stay whole, then those of text further. Numbers are never
// broken.
void fit(const Rows& rows, std::vector<Column>& columns, size_t most) {
  size_t all = kGap * (columns.size() - 1);
  std::vector<size_t> words, shortest;
  for (size_t c = 0; c < columns.size(); ++c) {
    size_t word = 0;
    for (const auto& row : rows)
      if (c < row.size()) word = std::max(word, longest_word(row[c]));
    const size_t numbers = columns[c].numbers ? columns[c].whole + columns[c].fraction + columns[c].unit : 0;
    all += columns[c].width;
    words.push_back(std::min(columns[c].width, std::max(word, numbers)));
    shortest.push_back(std::min(words.back(), std::max(kLeast, numbers)));
  }
  narrow(columns, words, all, most);
  narrow(columns, shortest, all, most);
}

}  // namespace

std::vector<std::string> wrapped(std::string_view text, size_t most) {
  std::vector<std::string> lines(1);
  for (size_t i = 0; i <= text.size();) {
    const size_t end = std::min(text.find(' ', i), text.size());
    std::string_view word = text.substr(i, end - i);
    if (i == 0)
      lines.back() = word;
    else if (width(lines.back()) + 1 + width(word) <= most)
      lines.back() += " " + std::string(word);
    else
      lines.emplace_back(word);
    while (most > 0 && width(lines.back()) > most) {  // a word that fits no line
      const std::string whole = lines.back();
      size_t cut = 0;
      for (size_t n = 0; n < most; ++n)
        for (++cut; (whole[cut] & 0xC0) == 0x80;) ++cut;
      lines.back() = whole.substr(0, cut);
      lines.push_back(whole.substr(cut));
    }
    i = end + 1;
  }
  return lines;
}

std::string table(const Rows& rows, size_t most) {
  std::vector<Column> columns;
  size_t count = 0;
  for (const auto& row : rows) count = std::max(count, row.size());
  for (size_t c = 0; c < count; ++c) columns.emplace_back(rows, c);
  if (most > 0 && count > 0) fit(rows, columns, most);
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    std::vector<std::vector<std::string>> cells;
    size_t lines = 1;
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const std::string whole = cell(rows[r][c], columns[c], r == 0);
      cells.push_back(width(whole) <= columns[c].width ? std::vector{whole} : wrapped(rows[r][c], columns[c].width));
      lines = std::max(lines, cells.back().size());
      if (r == 0 && columns[c].numbers)
        for (std::string& l : cells.back()) l = blanks(columns[c].width - std::min(columns[c].width, width(l))) + l;
    }
    for (size_t l = 0; l < lines; ++l) {
      std::string line;
      for (size_t c = 0; c < cells.size(); ++c) {
        const std::string text = l < cells[c].size() ? cells[c][l] : "";
        line += (c ? blanks(kGap) : "") + text + blanks(columns[c].width - std::min(columns[c].width, width(text)));
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
    }
  }
  return out;
}

std::string table(const Rows& rows) { return table(rows, static_cast<size_t>(output_columns())); }

std::string markdown_table(const Rows& rows) {
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    out += "|";
    for (const auto& text : rows[r]) {
      std::string safe;
      for (char c : text) safe += c == '|' ? std::string("\\|") : std::string(1, c);
      out += " " + safe + " |";
    }
    out += "\n";
    if (r == 0) {
      out += "|";
      for (size_t c = 0; c < rows[0].size(); ++c) out += Column(rows, c).numbers ? "--:|" : "---|";
      out += "\n";
    }
  }
  return out;
}

}  // namespace effllm
