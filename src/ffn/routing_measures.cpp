#include "ffn/routing_measures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace effllm {
namespace {

constexpr Metric kMaxLoad{"max_load", "1", "choices of the expert that was chosen most, over the mean"};
constexpr size_t kShown = 64;  // experts that have a column each

double largest_over_mean(std::span<const double> times) {
  const double sum = total(times);
  return sum > 0 ? *std::ranges::max_element(times) * static_cast<double>(times.size()) / sum : 0;
}
double share(std::span<const double> own_and_all) { return own_and_all[1] > 0 ? own_and_all[0] / own_and_all[1] : 0; }

// Of each expert, made once: names outlive all that is measured.
const std::vector<Metric>& load_metrics() {
  static const std::vector<Metric> all = [] {
    static std::vector<std::string> texts;
    for (size_t e = 0; e < kShown; ++e)
      texts.insert(texts.end(), {fmt::format("load.{}", e), fmt::format("share of the choices that expert {} got", e)});
    std::vector<Metric> metrics;
    for (size_t e = 0; e < kShown; ++e) metrics.push_back({texts[2 * e], "1", texts[2 * e + 1]});
    return metrics;
  }();
  return all;
}

}  // namespace

double total(std::span<const double> x) { return std::accumulate(x.begin(), x.end(), 0.0); }

void add_loads(const std::vector<double>& times, const Call& call) {
  call.whole(kMaxLoad, times, largest_over_mean);
  if (times.size() > kShown) return;
  const double sum = total(times);
  for (size_t e = 0; e < times.size(); ++e) call.whole(load_metrics()[e], {times[e], sum}, share);
}

double entropy(const Tensor& score) {
  double all = 0;
  if (score.is_meta()) return all;
  dispatch_float(score.dtype(), [&]<class T>() {
    const View<const T> s = score.view<T>();
    for (int64_t r = 0; r < s.rows; ++r) {
      double sum = 0, weighted = 0;
      for (int64_t e = 0; e < s.cols; ++e) {
        const auto p = static_cast<double>(s.row(r)[e]);
        sum += p;
        if (p > 0) weighted += p * std::log(p);
      }
      if (sum > 0) all += std::log(sum) - weighted / sum;
    }
  });
  return all;
}

Tensor in_order(const Tensor& chosen) {
  if (chosen.is_meta()) return chosen;
  const Tensor sorted = chosen.clone();
  const View<int64_t> lists = sorted.view<int64_t>();
  for (int64_t r = 0; r < lists.rows; ++r) std::sort(lists.row(r), lists.row(r) + lists.cols);
  return sorted;
}

int64_t without_choice(const Tensor& chosen) {
  int64_t n = 0;
  if (chosen.is_meta()) return n;
  const View<const int64_t> lists = chosen.view<int64_t>();
  for (int64_t r = 0; r < lists.rows; ++r)
    n += std::all_of(lists.row(r), lists.row(r) + lists.cols, [](int64_t e) { return e < 0; });
  return n;
}

std::vector<double> in_common(const Tensor& a, const Tensor& b) {
  double both = 0, sum = 0;
  if (a.is_meta()) return {both, sum};
  const View<const int64_t> mine = a.view<int64_t>(), other = b.view<int64_t>();
  for (int64_t r = 0; r < mine.rows; ++r) {
    const std::span<const int64_t> theirs(other.row(r), static_cast<size_t>(other.cols));
    sum += static_cast<double>(std::ranges::count_if(theirs, [](int64_t e) { return e >= 0; }));
    for (int64_t j = 0; j < mine.cols; ++j)
      if (const int64_t e = mine.row(r)[j]; e >= 0) {
        ++sum;
        both += std::ranges::find(theirs, e) != theirs.end();
      }
  }
  return {both, sum - both};
}

}  // namespace effllm
