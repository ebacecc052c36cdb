// Numbers with their intervals, a row each, as a picture.
#pragma once
#include <optional>
#include <string>
#include <vector>

namespace effllm {

struct IntervalRow {
  std::string name, text;  // at the left and at the right of the row
  size_t colour = 0;       // series_class()
  bool plain = false;      // no arm's: without a colour
  bool apart = false;      // the axis need not hold it: it has diverged, or is held against what has
  std::optional<double> value;
  std::optional<double> low, high;  // of the interval, where there is one
  std::vector<double> points;       // what the value is the mean of
};

// `label` is read aloud. What lies beyond the axis stands as an arrow at its edge: of rows that are `apart`, unless all
// are, and of plain ones that lie farther out than four times the span of the others. `zero`: a line at 0, and a scale
// that has it.
std::string interval_chart(const std::vector<IntervalRow>& rows, const std::string& label, const std::string& x_label,
                           bool zero);

}  // namespace effllm
