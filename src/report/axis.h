// An interval of numbers on a picture.
#pragma once
#include <string>
#include <vector>

namespace effllm {

struct Axis {
  bool logarithmic = false;
  double low = 0, high = 1;   // of the numbers
  double from = 0, to = 1;    // where they stand
  double at(double v) const;  // where v stands
  bool contains(double v) const { return v >= low && v <= high; }
};

// Over finite numbers, at least one, with `margin` of their span beyond both ends; wider where they are one number.
// Logarithmic where they may be and span more than a factor of 8.
Axis axis_over(const std::vector<double>& numbers, double margin, bool may_be_logarithmic);

struct Tick {
  double value;
  std::string text;
};
// About `count`, labelled with as many digits as tell them apart; large numbers by human_count: "200 K".
std::vector<Tick> ticks_of(const Axis& axis, int count);

}  // namespace effllm
