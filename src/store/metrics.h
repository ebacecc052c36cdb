// What a run reports: a metric is declared where it is measured.
#pragma once
#include <string>
#include <string_view>

namespace effllm {

struct Metric;

// One number of a row. Where a layer measures, its name begins with the place: "layers.3.ffn.balance".
struct Measured {
  std::string name;
  double value = 0;
  const Metric* metric = nullptr;
};

// Units as in UDUNITS where it has them; "1" is dimensionless.
struct Metric {
  std::string_view name, unit, title;
  Measured operator()(double value) const { return {std::string(name), value, this}; }
};

}  // namespace effllm
