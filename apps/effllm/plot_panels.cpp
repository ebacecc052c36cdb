#include "plot_panels.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace effllm::app {

std::vector<Panel> panels_of(const std::vector<std::string>& metrics, const std::vector<Curve>& curves) {
  std::vector<Panel> panels;
  std::vector<std::string> quantities;
  for (const std::string& metric : metrics) {
    const std::string quantity = metric.substr(metric.find('/') + 1);
    const auto at = static_cast<size_t>(std::ranges::find(quantities, quantity) - quantities.begin());
    if (at == quantities.size()) quantities.push_back(quantity), panels.push_back({});
    Panel& panel = panels[at];
    panel.title += (panel.title.empty() ? "" : ", ") + metric;
    for (const Curve& c : curves)
      if (c.metric == metric) panel.series.push_back(c.series);
  }
  return panels;
}

std::pair<double, double> x_range(const std::vector<Panel>& panels) {
  std::pair<double, double> range(std::numeric_limits<double>::infinity(), -std::numeric_limits<double>::infinity());
  for (const Panel& panel : panels)
    for (const PlotSeries& s : panel.series)
      for (size_t i = 0; i < s.x.size(); ++i)
        if (std::isfinite(s.x[i]) && std::isfinite(s.y[i]))
          range = {std::min(range.first, s.x[i]), std::max(range.second, s.x[i])};
  return range;
}

}  // namespace effllm::app
