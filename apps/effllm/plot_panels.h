// Which curves of `effllm plot` share a panel.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "base/plot.h"

namespace effllm::app {

struct Curve {
  std::string run, metric;  // such as val/loss
  PlotSeries series;
};

struct Panel {
  std::string title;  // the metrics
  std::vector<PlotSeries> series;
};

// One panel for each quantity, in the order of `metrics`: train/loss and val/loss have one axis, train/lr has another.
std::vector<Panel> panels_of(const std::vector<std::string>& metrics, const std::vector<Curve>& curves);

// Least and largest x of the points of all panels, so that they can be compared one above the other.
std::pair<double, double> x_range(const std::vector<Panel>& panels);

}  // namespace effllm::app
