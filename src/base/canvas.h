// The area of a plot in characters: cells of 2 x 4 dots in braille, of one dot in ASCII. Letters stand over dots.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace effllm {

// What a series is drawn with: its character or letter, and the SGR code of its colour (0: none).
struct Pen {
  char mark;
  uint8_t colour;
};

class Canvas {
 public:
  Canvas(int columns, int lines, bool ascii);
  // Dot coordinates of a place in [0, 1] x [0, 1], the second upwards.
  int dot_x(double u) const { return place(u, columns_ * across_); }
  int dot_y(double v) const { return lines_ * down_ - 1 - place(v, lines_ * down_); }
  int line_of(int dot) const { return dot / down_; }
  int column_of(int dot) const { return dot / across_; }

  void dot(int x, int y, Pen pen);
  void line(int x0, int y0, int x1, int y1, Pen pen);
  // Into the first cell from `column` on, or before it where the line ends, that has no letter yet.
  void letter(int column, int line, Pen pen);
  std::string row(int line) const;  // without blanks at the end, where they are spaces

 private:
  static int place(double u, int dots);
  size_t cell(int column, int line) const {
    return static_cast<size_t>(line) * static_cast<size_t>(columns_) + static_cast<size_t>(column);
  }
  int columns_, lines_, across_, down_;
  bool ascii_;
  std::vector<uint8_t> dots_;     // bits of a braille pattern, or a character
  std::vector<char> letters_;     // 0: none
  std::vector<uint8_t> colours_;  // 0: none
};

}  // namespace effllm
