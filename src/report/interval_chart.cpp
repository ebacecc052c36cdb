#include "report/interval_chart.h"

#include <algorithm>

#include "report/axis.h"
#include "report/svg.h"

namespace effllm {
namespace {

constexpr double kWidth = 400, kLeft = 12, kRight = 388, kRow = 38, kPlainRow = 32, kTop = 6, kBelow = 40;
constexpr double kFarOut = 4;     // spans
constexpr size_t kMostName = 60;  // letters of a row, the text at its right among them

double height(const IntervalRow& r) { return r.plain ? kPlainRow : kRow; }

void include(std::vector<double>& numbers, const IntervalRow& r) {
  numbers.push_back(*r.value);
  for (const auto& end : {r.low, r.high})
    if (end) numbers.push_back(*end);
  numbers.insert(numbers.end(), r.points.begin(), r.points.end());
}

// What the axis is over: all rows with a colour, and plain ones that would not press them together.
std::vector<double> shown_numbers(const std::vector<IntervalRow>& rows, bool zero) {
  std::vector<double> numbers;
  const auto coloured = [](const IntervalRow& r) { return r.value && !r.plain; };
  const bool all = std::ranges::none_of(rows, [&](const IntervalRow& r) { return coloured(r) && !r.apart; });
  for (const IntervalRow& r : rows)
    if (coloured(r) && (all || !r.apart)) include(numbers, r);
  const bool any = !numbers.empty();
  if (zero && any) numbers.push_back(0);
  const auto [least, most] = any ? std::ranges::minmax(numbers) : std::ranges::min_max_result<double>{0, 0};
  const double span = most - least;
  for (const IntervalRow& r : rows)
    if (r.value && r.plain && (!any || (*r.value > most - kFarOut * span && *r.value < least + kFarOut * span)))
      numbers.push_back(*r.value);
  return numbers;
}

std::string cut_to(const std::string& name, size_t letters) {
  size_t n = 0;
  for (size_t i = 0; i < name.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(name[i]) & 0xc0) != 0x80;
    if (starts && n++ == letters) return name.substr(0, i) + "…";
  }
  return name;
}

void draw(Svg& svg, const IntervalRow& r, const Axis& x, double top) {
  const std::string colour = r.plain ? "plain" : series_class(r.colour);
  const double y = top + (r.plain ? 21 : 25);
  svg.text(kLeft, top + 14, cut_to(r.name, kMostName - std::min(kMostName - 8, r.text.size())),
           r.plain ? "start name plain" : "start name");
  svg.text(kRight, top + 14, r.text, "end");
  svg.line(kLeft, y, kRight, y, "grid");
  if (!r.value) return;
  bool left = false, right = false;  // whether something lies beyond
  const auto inside = [&](double v) {
    left = left || v < x.low, right = right || v > x.high;
    return x.contains(v);
  };
  for (const double p : r.points)
    if (inside(p)) svg.line(x.at(p), y - 5, x.at(p), y + 5, "seed " + colour);
  if (r.low && r.high) {
    const auto cut = [&](double v) { return x.at(std::clamp(v, x.low, x.high)); };
    svg.line(cut(*r.low), y, cut(*r.high), y, "interval " + colour);
    for (const double end : {*r.low, *r.high})
      if (inside(end)) svg.line(x.at(end), y - 4, x.at(end), y + 4, "interval " + colour);
  }
  if (inside(*r.value)) svg.dot(x.at(*r.value), y, r.plain ? 3 : 4.5, "mark " + colour);
  if (left) svg.area({{kLeft + 8, y - 4}, {kLeft, y}}, {{kLeft + 8, y + 4}, {kLeft, y}}, "mark " + colour);
  if (right) svg.area({{kRight - 8, y - 4}, {kRight, y}}, {{kRight - 8, y + 4}, {kRight, y}}, "mark " + colour);
}

}  // namespace

std::string interval_chart(const std::vector<IntervalRow>& rows, const std::string& label, const std::string& x_label,
                           bool zero) {
  double bottom = kTop + 4;
  for (const IntervalRow& r : rows) bottom += height(r);
  Svg svg(kWidth, bottom + kBelow, label);
  const std::vector<double> numbers = shown_numbers(rows, zero);
  Axis x = axis_over(numbers.empty() ? std::vector<double>{0} : numbers, 0.06, false);
  x.from = kLeft, x.to = kRight;
  if (zero) svg.line(x.at(0), kTop, x.at(0), bottom, "zero");
  double top = kTop;
  for (const IntervalRow& r : rows) {
    draw(svg, r, x, top);
    top += height(r);
  }
  svg.line(kLeft, bottom, kRight, bottom, "axis");
  if (!numbers.empty())
    for (const Tick& t : ticks_of(x, 5)) {
      svg.line(x.at(t.value), bottom, x.at(t.value), bottom + 4, "axis");
      svg.text(std::clamp(x.at(t.value), kLeft + 14, kRight - 14), bottom + 16, t.text, "middle");
    }
  svg.text((kLeft + kRight) / 2, bottom + 33, x_label, "middle");
  return svg.str();
}

}  // namespace effllm
