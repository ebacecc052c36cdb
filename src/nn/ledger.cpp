#include "nn/ledger.h"

#include <fmt/format.h>

#include <tuple>

#include "autodiff/tape.h"

namespace effllm {
namespace {

double mean_of_own(std::span<const double> sum_and_count) {
  return sum_and_count[1] > 0 ? sum_and_count[0] / sum_and_count[1] : 0;
}

}  // namespace

void Ledger::Sums::add(const std::vector<double>& more) {
  values.resize(more.size());
  for (size_t i = 0; i < more.size(); ++i) values[i] += more[i];
}

Ledger::Sums& Ledger::at(std::string_view site, const Metric& metric) {
  Sums& s = sums_[site.empty() ? std::string(metric.name) : fmt::format("{}.{}", site, metric.name)];
  s.metric = &metric;
  return s;
}

void Ledger::loss(std::string_view site, const Metric& metric, const Tensor& sum, double weight, Per per,
                  double share) {
  Sums& s = at(site, metric);
  s.per = per;
  s.add({sum.is_meta() ? 0 : *sum.data<double>() / share});
  seed(sum, weight * each(per) / share);
}

void Ledger::loss_of(std::string_view site, const Metric& metric, const Tensor& sum, int64_t counted, double weight) {
  Sums& s = at(site, metric);
  s.whole = mean_of_own;
  s.add({sum.is_meta() ? 0 : *sum.data<double>(), static_cast<double>(counted)});
  seed(sum, weight * each(Per::target));
}

void Ledger::seed(const Tensor& sum, double value) {
  Tape* const tape = Tape::recording();
  if (!tape) return;
  const Tensor gradient = Tensor::dense({1}, DType::f64);
  if (!gradient.is_meta()) *gradient.data<double>() = value;
  tape->seed(sum, gradient);
}

void Ledger::mean(std::string_view site, const Metric& metric, double sum) { at(site, metric).add({sum}); }

void Ledger::whole(std::string_view site, const Metric& metric, std::vector<double> sums, Whole of) {
  Sums& s = at(site, metric);
  s.whole = of;
  s.add(sums);
}

void Ledger::statistic(const ModelBuffer& buffer, std::vector<double> sums) { sums_[buffer.name].add(sums); }

Ledger& Ledger::operator+=(const Ledger& other) {
  for (const auto& [name, theirs] : other.sums_) {
    Sums& mine = sums_[name];
    std::tie(mine.metric, mine.whole, mine.per) = std::tie(theirs.metric, theirs.whole, theirs.per);
    mine.add(theirs.values);
  }
  return *this;
}

void Ledger::apply(ParamStore& params) const {
  for (ModelBuffer& b : params.buffers())
    if (const auto s = sums_.find(b.name); s != sums_.end()) b.change(s->second.values);
}

std::vector<Measured> Ledger::rows() const {
  std::vector<Measured> all;
  // What had no target of its own in a batch has no mean there; on shapes alone nothing is counted, and names are
  // asked.
  const auto without = [this](const Sums& s) { return s.whole == mean_of_own && s.values[1] == 0 && targets_ > 0; };
  for (const auto& [name, s] : sums_)
    if (s.metric && !without(s))
      all.push_back({name, s.whole ? s.whole(s.values) : s.values[0] * each(s.per), s.metric});
  return all;
}

}  // namespace effllm
