// Line plots for a terminal, as text; with colour codes only where they are asked for.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace effllm {

struct PlotSeries {
  std::string name;
  std::vector<double> x, y;  // points in the order of the line; one that is not finite is a gap
};

struct PlotOptions {
  int width = 72;       // columns of the whole picture, at least 24
  int height = 16;      // lines of the plotting area, at least 3; title, x axis and legend add theirs
  bool log_y = false;   // points with y <= 0 are gaps then
  bool ascii = false;   // each series drawn with a character of its own; otherwise braille, 2 x 4 dots a cell
  bool colour = false;  // each series in one of six colours, beside its letter or character
  std::string title = {}, x_label = {}, y_label = {};
  std::optional<std::pair<double, double>> x_range = {};  // the x axis covers it at least: plots above each other
};

// Lines through the points of each series, axes with ticks at 1, 2 or 5 times powers of ten, and a legend where there
// are several series or a name. In braille, several series are told apart by letters: each ends at its letter of the
// legend. Blank cells of the area are U+2800, never spaces. Without a point that can be drawn the area says so. Every
// line ends with a line break. ShapeError where x and y differ in length.
std::string line_plot(std::span<const PlotSeries> series, const PlotOptions& options);

// Multiples of 1, 2 or 5 times a power of ten inside [low, high], about `count` of them. On a logarithmic axis
// (low > 0) powers of ten, and 2 and 5 times them where these are few.
std::vector<double> axis_ticks(double low, double high, int count, bool logarithmic);
// Their labels, with as many digits as tell them apart.
std::vector<std::string> tick_labels(const std::vector<double>& ticks, bool logarithmic);

}  // namespace effllm
