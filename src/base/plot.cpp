#include "base/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "base/canvas.h"
#include "base/error.h"
#include "base/text.h"

namespace effllm {
namespace {

constexpr double kLargest = 1e300;  // beyond it differences overflow: such a point is a gap
constexpr std::string_view kGlyphs = "*+ox#@%&=~";
// Cyan, yellow, magenta, green, blue, red: legible on dark and on light.
constexpr int kColours[] = {36, 33, 35, 32, 34, 31};

// An interval of the data and how it maps to [0, 1].
struct Axis {
  bool logarithmic = false;
  double low = std::numeric_limits<double>::infinity(), high = -low;

  bool shows(double v) const { return std::abs(v) < kLargest && (!logarithmic || v > 1 / kLargest); }  // false for NaN
  void include(double v) { low = std::min(low, v), high = std::max(high, v); }
  // Opens an interval that is a point, or too narrow for its numbers to differ on the labels.
  void widen() {
    const double size = std::max(std::abs(low), std::abs(high));
    if (high - low > std::max(1e-9 * size, 1e-290)) return;
    const double half = size > 1e-280 ? 0.1 * size : 1;
    logarithmic ? (low /= 2, high *= 2) : (low -= half, high += half);
  }
  double at(double v) const {
    return logarithmic ? (std::log(v) - std::log(low)) / (std::log(high) - std::log(low)) : (v - low) / (high - low);
  }
};

Pen pen_of(size_t series, const PlotOptions& o) {
  return {.mark = o.ascii ? kGlyphs[series % kGlyphs.size()] : static_cast<char>('a' + series % 26),
          .colour = static_cast<uint8_t>(o.colour ? kColours[series % std::size(kColours)] : 0)};
}

// Draws one series; in braille its letter, if it has one, goes right after its last point.
void draw(const PlotSeries& s, const Axis& x, const Axis& y, bool letter, Pen pen, Canvas& canvas) {
  int before_x = -1, before_y = -1, last_x = -1, last_y = -1;
  for (size_t i = 0; i < s.x.size(); ++i) {
    if (!x.shows(s.x[i]) || !y.shows(s.y[i])) {
      before_x = -1;
      continue;
    }
    last_x = canvas.dot_x(x.at(s.x[i])), last_y = canvas.dot_y(y.at(s.y[i]));
    before_x < 0 ? canvas.dot(last_x, last_y, pen) : canvas.line(before_x, before_y, last_x, last_y, pen);
    before_x = last_x, before_y = last_y;
  }
  if (letter && last_x >= 0) canvas.letter(canvas.column_of(last_x) + 1, canvas.line_of(last_y), pen);
}

// Two lines: the axis with its marks, and the labels centred below; labels that would touch are left out.
std::string x_axis(const std::vector<double>& ticks, const Axis& x, const Canvas& canvas, size_t margin, int columns,
                   bool ascii) {
  std::vector<bool> marked(static_cast<size_t>(columns));
  std::string below(margin + 1 + static_cast<size_t>(columns), ' ');
  size_t end = 0;  // of the last label, with the gap after it
  const auto labels = tick_labels(ticks, false);
  for (size_t i = 0; i < ticks.size(); ++i) {
    const auto column = static_cast<size_t>(canvas.column_of(canvas.dot_x(x.at(ticks[i]))));
    marked[column] = true;
    const size_t n = labels[i].size(), centre = margin + 1 + column;
    const size_t from = std::min(centre - std::min(centre, n / 2), below.size() - std::min(below.size(), n));
    if (from < end) continue;
    below.replace(from, n, labels[i]);
    end = from + n + 2;
  }
  std::string axis = std::string(margin, ' ') + (ascii ? "+" : "└");
  for (const bool m : marked) axis += ascii ? (m ? "+" : "-") : (m ? "┬" : "─");
  below.erase(below.find_last_not_of(' ') + 1);
  return axis + "\n" + below + "\n";
}

std::string legend(std::span<const PlotSeries> series, const Axis& x, const Axis& y, const PlotOptions& o) {
  std::string out;
  for (size_t i = 0; i < series.size(); ++i) {
    bool drawn = false;
    for (size_t k = 0; k < series[i].x.size(); ++k)
      drawn = drawn || (x.shows(series[i].x[k]) && y.shows(series[i].y[k]));
    const Pen pen = pen_of(i, o);
    std::string text = o.ascii || series.size() > 1 ? fmt::format("{}  ", pen.mark) : "";
    text += printable(series[i].name);
    if (pen.colour) text = fmt::format("\x1b[{}m{}\x1b[0m", pen.colour, text);
    if (series.size() > 1 || !series[i].name.empty() || !drawn)
      out += fmt::format("  {}{}\n", text, drawn ? "" : " (nothing to draw)");
  }
  return out;
}

}  // namespace

std::vector<std::string> tick_labels(const std::vector<double>& ticks, bool logarithmic) {
  std::vector<std::string> labels;
  double largest = 0;
  for (double t : ticks) largest = std::max(largest, std::abs(t));
  const double step = ticks.size() > 1 ? ticks[1] - ticks[0] : largest;
  const auto decimals = [](double unit_step) {
    return std::clamp(-static_cast<int>(std::floor(std::log10(unit_step) + 1e-9)), 0, 12);
  };
  static constexpr std::pair<double, const char*> kUnits[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e4, "k"}};
  for (double t : ticks) {
    if (t == 0) t = 0;  // no negative zero
    std::string text = logarithmic ? fmt::format("{:.6g}", t) : "";
    for (const auto& [unit, name] : kUnits)
      if (text.empty() && largest >= unit && largest < 1e15) {
        const double scale = unit == 1e4 ? 1e3 : unit;
        text = t == 0 ? "0" : fmt::format("{:.{}f}{}", t / scale, decimals(step / scale), name);
      }
    if (text.empty() && largest > 0 && (largest < 1e-3 || largest >= 1e15))
      text = fmt::format("{:.{}e}", t, decimals(step / std::pow(10, std::floor(std::log10(largest) + 1e-9))));
    labels.push_back(text.empty() ? fmt::format("{:.{}f}", t, step > 0 ? decimals(step) : 0) : text);
  }
  return labels;
}

std::vector<double> axis_ticks(double low, double high, int count, bool logarithmic) {
  std::vector<double> ticks;
  if (logarithmic) {
    const int first = static_cast<int>(std::floor(std::log10(low))),
              last = static_cast<int>(std::ceil(std::log10(high)));
    const int every = std::max(1, (last - first) / std::max(1, count));
    for (const bool fine : {false, true}) {
      ticks.clear();
      for (int e = first; e <= last; e += every)
        for (const double m : {1.0, 2.0, 5.0})
          if (const double t = m * std::pow(10, e); (m == 1 || fine) && t >= low && t <= high) ticks.push_back(t);
      if (ticks.size() >= 3) return ticks;
    }
  }
  const double rough = (high - low) / std::max(1, count), power = std::pow(10, std::floor(std::log10(rough)));
  const double ratio = rough / power, step = power * (ratio <= 1 ? 1 : ratio <= 2 ? 2 : ratio <= 5 ? 5 : 10);
  ticks.clear();
  const double slack = 1e-9 * (high - low);
  for (double k = std::ceil((low - slack) / step); k * step <= high + slack; ++k) ticks.push_back(k * step);
  return ticks;
}

std::string line_plot(std::span<const PlotSeries> series, const PlotOptions& o) {
  const int width = std::clamp(o.width, 24, 1000), height = std::clamp(o.height, 3, 1000);
  Axis x, y{.logarithmic = o.log_y};
  for (const PlotSeries& s : series) {
    require(s.x.size() == s.y.size(), "plot: series `{}` has {} x and {} y", s.name, s.x.size(), s.y.size());
    for (size_t i = 0; i < s.x.size(); ++i)
      if (x.shows(s.x[i]) && y.shows(s.y[i])) x.include(s.x[i]), y.include(s.y[i]);
  }
  const bool empty = x.low > x.high;
  if (empty) x.low = x.high = y.low = y.high = 1;
  if (!empty && o.x_range)
    for (const double end : {o.x_range->first, o.x_range->second})
      if (x.shows(end)) x.include(end);
  x.widen(), y.widen();

  const auto y_ticks = empty ? std::vector<double>() : axis_ticks(y.low, y.high, std::max(3, height / 3), o.log_y);
  const auto y_labels = tick_labels(y_ticks, o.log_y);
  size_t margin = 1;
  for (const auto& l : y_labels) margin = std::max(margin, l.size() + 1);
  const bool letters = !o.ascii && series.size() > 1;
  const int columns = std::max(8, width - static_cast<int>(margin) - 1);
  Canvas canvas(columns, height, o.ascii);
  // Letters get columns of their own to the right of the longest line: x stops short of them.
  if (letters) x.high += (x.high - x.low) * 2 / (columns - 2);
  for (size_t i = 0; i < series.size(); ++i) draw(series[i], x, y, letters, pen_of(i, o), canvas);

  std::vector<std::string> left(static_cast<size_t>(height));
  for (size_t i = 0; i < y_ticks.size(); ++i) {
    std::string& l = left[static_cast<size_t>(canvas.line_of(canvas.dot_y(y.at(y_ticks[i]))))];
    if (l.empty()) l = y_labels[i];
  }
  std::string out;
  if (!o.title.empty()) out += printable(o.title) + "\n";
  if (!o.y_label.empty()) out += printable(o.y_label) + (o.log_y ? ", logarithmic\n" : "\n");
  for (int l = 0; l < height; ++l) {
    const std::string& label = left[static_cast<size_t>(l)];
    const char* bar = o.ascii ? (label.empty() ? "|" : "+") : (label.empty() ? "│" : "┤");
    std::string row = canvas.row(l);
    if (empty && l == height / 2) row = " (nothing to draw)";
    out += fmt::format("{:>{}}{}{}\n", label, margin, bar, row);
  }
  const auto x_ticks = empty ? std::vector<double>() : axis_ticks(x.low, x.high, std::max(2, columns / 12), false);
  out += x_axis(x_ticks, x, canvas, margin, columns, o.ascii);
  if (!o.x_label.empty()) {
    const size_t room = margin + 1 + static_cast<size_t>(columns), n = o.x_label.size();
    out += std::string(room > n ? (room - n) / 2 : 0, ' ') + printable(o.x_label) + "\n";
  }
  return out + legend(series, x, y, o);
}

}  // namespace effllm
