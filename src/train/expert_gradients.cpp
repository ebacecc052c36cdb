#include "train/expert_gradients.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "kernels/optimizer.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr Metric kLeast{"grad_norm_min", "1", "least norm of an expert's gradient before clipping"},
    kMean{"grad_norm_mean", "1", "mean norm of the experts' gradients before clipping"},
    kLargest{"grad_norm_max", "1", "largest norm of an expert's gradient before clipping"};

// The place in whose name the parameter is: "layers.3.ffn.experts" of "layers.3.ffn.experts.down.weight".
std::string place_of(const Parameter& p) {
  const size_t weight = p.name.rfind('.'), layer = p.name.rfind('.', weight - 1);
  return p.name.substr(0, layer);
}

// Adds the squares of each expert's rows to its sum.
void add_squares(const ParamStore& params, const Slab& gradient, const Parameter& p, std::vector<double>& sums) {
  const Tensor g = params.view(gradient, p);
  const int64_t rows = g.rows() / p.traits.experts;
  dispatch_float(g.dtype(), [&]<class T>() {
    parallel_for(p.traits.experts, 1, [&](int64_t from, int64_t to) {
      for (int64_t e = from; e < to; ++e)
        sums[static_cast<size_t>(e)] += kernel::sum_of_squares<T>(g.view<T>().row(e * rows), rows * g.stride());
    });
  });
}

}  // namespace

std::vector<Measured> expert_gradients(const ParamStore& params, const Slab* gradient) {
  std::map<std::string, std::vector<double>> squares;
  for (const Parameter* p : params.sorted())
    if (p->traits.experts > 0) {
      std::vector<double>& sums = squares[place_of(*p)];
      sums.resize(static_cast<size_t>(p->traits.experts));
      if (gradient) add_squares(params, *gradient, *p, sums);
    }
  std::vector<Measured> rows;
  for (auto& [place, norms] : squares) {
    for (double& n : norms) n = std::sqrt(n);
    const auto [least, largest] = std::ranges::minmax(norms);
    const double mean = std::accumulate(norms.begin(), norms.end(), 0.0) / static_cast<double>(norms.size());
    for (const Measured& m : {kLargest(largest), kMean(mean), kLeast(least)})
      rows.push_back({fmt::format("{}.{}", place, m.name), m.value, m.metric});
  }
  return rows;
}

}  // namespace effllm
