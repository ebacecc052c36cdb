#include "report/line_chart.h"

#include <algorithm>
#include <cmath>

#include "report/axis.h"
#include "report/svg.h"

namespace effllm {
namespace {

constexpr double kWidth = 400, kHeight = 270, kLeft = 44, kRight = 388, kTop = 22, kBottom = 226;
constexpr double kLetter = 6.4;  // about as wide as a letter of an axis

bool drawable(const BandCurve& c, size_t i) {
  return std::isfinite(c.x[i]) && std::isfinite(c.low[i]) && std::isfinite(c.mean[i]) && std::isfinite(c.high[i]);
}

void draw_axes(Svg& svg, const Axis& x, const Axis& y, const std::string& x_label, const std::string& y_label) {
  for (const Tick& t : ticks_of(y, 5)) {
    svg.line(kLeft, y.at(t.value), kRight, y.at(t.value), "grid");
    svg.text(kLeft - 6, y.at(t.value) + 4, t.text, "end");
  }
  double free_from = 0;
  for (const Tick& t : ticks_of(x, 5)) {
    const double at = x.at(t.value), half = kLetter * static_cast<double>(t.text.size()) / 2;
    svg.line(at, kBottom, at, kBottom + 4, "axis");
    if (at - half < free_from) continue;
    svg.text(at, kBottom + 17, t.text, "middle");
    free_from = at + half + kLetter;
  }
  svg.line(kLeft, kBottom, kRight, kBottom, "axis");
  svg.text((kLeft + kRight) / 2, kHeight - 8, x_label, "middle");
  svg.text(4, 12, y_label, "start");
}

// The pieces between gaps; a point alone is a dot, with a line where its band is. What is above the axis is an arrow
// where it begins.
void draw(Svg& svg, const BandCurve& c, const Axis& x, const Axis& y) {
  const std::string colour = series_class(c.colour);
  for (size_t i = 0; i < c.x.size();) {
    Svg::Points low, mean, high;
    const auto above = [&] { return i < c.x.size() && drawable(c, i) && c.mean[i] > y.high; };
    if (above()) {
      const double at = x.at(c.x[i]);
      svg.area({{at - 4, kTop + 8}, {at, kTop}}, {{at + 4, kTop + 8}, {at, kTop}}, "mark beyond " + colour);
      while (above()) ++i;
      continue;
    }
    for (; i < c.x.size() && drawable(c, i) && !above(); ++i) {
      const double at = x.at(c.x[i]);
      low.emplace_back(at, y.at(c.low[i]));
      mean.emplace_back(at, y.at(c.mean[i]));
      high.emplace_back(at, y.at(std::min(c.high[i], y.high)));
    }
    if (mean.size() > 1) {
      svg.area(high, low, "band " + colour);
      svg.path(mean, "curve " + colour);
    }
    if (mean.size() == 1 && low[0] != high[0])
      svg.line(low[0].first, low[0].second, high[0].first, high[0].second, "interval " + colour);
    if (mean.size() == 1) svg.dot(mean[0].first, mean[0].second, 3, "mark " + colour);
    if (mean.empty()) ++i;
  }
}

}  // namespace

std::string line_chart(const std::vector<BandCurve>& curves, const std::string& label, const std::string& x_label,
                       const std::string& y_label, double most) {
  Svg svg(kWidth, kHeight, label);
  std::vector<double> xs, ys;
  for (const BandCurve& c : curves)
    for (size_t i = 0; i < c.x.size(); ++i)
      if (drawable(c, i)) {
        xs.push_back(c.x[i]);
        ys.insert(ys.end(), {c.low[i], c.mean[i], c.high[i]});
      }
  if (const auto least = std::ranges::min_element(ys); least != ys.end() && *least <= most)
    std::erase_if(ys, [&](double v) { return v > most; });
  if (xs.empty()) {
    svg.text(kWidth / 2, kHeight / 2, "nothing to draw", "middle");
    return svg.str();
  }
  Axis x = axis_over(xs, 0.02, true), y = axis_over(ys, 0.05, false);
  x.from = kLeft, x.to = kRight, y.from = kBottom, y.to = kTop;
  draw_axes(svg, x, y, x_label, y_label);
  for (const BandCurve& c : curves) draw(svg, c, x, y);
  return svg.str();
}

}  // namespace effllm
