#include "report/axis.h"

#include <algorithm>
#include <cmath>

#include "base/plot.h"
#include "base/text.h"

namespace effllm {
namespace {

constexpr double kManyTimes = 8;

// "2.00 K" without the zeros that say nothing.
std::string short_count(double v) {
  std::string text = human_count(v);
  const size_t point = text.find('.'), end = std::min(text.find(' '), text.size());
  if (point == text.npos) return text;
  size_t last = end;
  while (last > point + 1 && text[last - 1] == '0') --last;
  if (last == point + 1) last = point;
  return text.erase(last, end - last);
}

}  // namespace

double Axis::at(double v) const {
  const double part = logarithmic ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low);
  return from + part * (to - from);
}

Axis axis_over(const std::vector<double>& numbers, double margin, bool may_be_logarithmic) {
  const auto [least, most] = std::ranges::minmax(numbers);
  Axis a{.low = least, .high = most};
  if (may_be_logarithmic && least > 0 && most > kManyTimes * least) {
    a.logarithmic = true;
    const double wider = std::pow(most / least, margin);
    a.low /= wider, a.high *= wider;
    return a;
  }
  double beyond = margin * (most - least);
  if (most - least <= 1e-9 * std::max(std::abs(least), std::abs(most)))
    beyond = most == 0 ? 1 : 0.05 * std::max(std::abs(least), std::abs(most));
  a.low -= beyond, a.high += beyond;
  return a;
}

std::vector<Tick> ticks_of(const Axis& axis, int count) {
  const std::vector<double> values = axis_ticks(axis.low, axis.high, count, axis.logarithmic);
  std::vector<std::string> labels = tick_labels(values, axis.logarithmic);
  std::vector<Tick> ticks;
  for (size_t i = 0; i < values.size(); ++i)
    ticks.push_back({values[i], std::abs(values[i]) >= 1000 ? short_count(values[i]) : labels[i]});
  return ticks;
}

}  // namespace effllm
