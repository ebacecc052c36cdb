#include "nn/ledger.h"

#include <fmt/format.h>

#include "autodiff/tape.h"

namespace effllm {

void Ledger::loss(std::string_view site, const Metric& metric, const Tensor& sum, double weight) {
  Sum& s = sums_[site.empty() ? std::string(metric.name) : fmt::format("{}.{}", site, metric.name)];
  s.metric = &metric;
  if (!sum.is_meta()) s.value += *sum.data<double>();
  if (Tape* tape = Tape::recording()) {
    const Tensor gradient = Tensor::dense({1}, DType::f64);
    if (!gradient.is_meta()) *gradient.data<double>() = weight * per_target();
    tape->seed(sum, gradient);
  }
}

Ledger& Ledger::operator+=(const Ledger& other) {
  for (const auto& [name, sum] : other.sums_) {
    Sum& mine = sums_[name];
    mine.metric = sum.metric;
    mine.value += sum.value;
  }
  return *this;
}

std::vector<Measured> Ledger::rows() const {
  std::vector<Measured> all;
  for (const auto& [name, sum] : sums_) all.push_back({name, sum.value * per_target(), sum.metric});
  return all;
}

}  // namespace effllm
