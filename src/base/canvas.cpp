#include "base/canvas.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace effllm {

Canvas::Canvas(int columns, int lines, bool ascii)
    : columns_(columns),
      lines_(lines),
      across_(ascii ? 1 : 2),
      down_(ascii ? 1 : 4),
      ascii_(ascii),
      dots_(static_cast<size_t>(columns * lines)),
      letters_(dots_.size()),
      colours_(dots_.size()) {}

int Canvas::place(double u, int dots) { return std::clamp(static_cast<int>(std::lround(u * (dots - 1))), 0, dots - 1); }

void Canvas::dot(int x, int y, Pen pen) {
  static constexpr uint8_t kBits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
  const size_t at = cell(x / across_, y / down_);
  uint8_t& d = dots_[at];
  d = ascii_ ? static_cast<uint8_t>(pen.mark) : static_cast<uint8_t>(d | kBits[y % 4][x % 2]);
  colours_[at] = pen.colour;  // a cell that several series cross has that of the last
}

void Canvas::line(int x0, int y0, int x1, int y1, Pen pen) {
  const int n = std::max({std::abs(x1 - x0), std::abs(y1 - y0), 1});
  for (int i = 0; i <= n; ++i)
    dot(static_cast<int>(std::lround(x0 + static_cast<double>(x1 - x0) * i / n)),
        static_cast<int>(std::lround(y0 + static_cast<double>(y1 - y0) * i / n)), pen);
}

void Canvas::letter(int column, int line, Pen pen) {
  for (int k = 0; k < columns_; ++k) {
    const size_t at = cell(column + k < columns_ ? column + k : columns_ - 1 - k, line);
    if (letters_[at]) continue;
    letters_[at] = pen.mark;
    colours_[at] = pen.colour;
    return;
  }
}

std::string Canvas::row(int line) const {
  std::string out;
  int columns = columns_;
  while (ascii_ && columns > 0 && dots_[cell(columns - 1, line)] == 0) --columns;
  uint8_t colour = 0;
  for (int c = 0; c < columns; ++c) {
    const size_t at = cell(c, line);
    const uint8_t d = dots_[at];
    if (colours_[at] != 0 && colours_[at] != colour) out += fmt::format("\x1b[{}m", colour = colours_[at]);
    if (letters_[at])
      out += letters_[at];
    else if (ascii_)
      out += d ? static_cast<char>(d) : ' ';
    else
      out += {'\xE2', static_cast<char>(0xA0 | d >> 6), static_cast<char>(0x80 | (d & 0x3F))};  // U+2800 + d
  }
  return colour ? out + "\x1b[0m" : out;
}

}  // namespace effllm
