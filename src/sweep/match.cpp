#include "sweep/match.h"

#include <cmath>
#include <utility>

#include "model/describe.h"

namespace effllm {
namespace {

// A multiple of the step and what it comes to; `n` past the end where there is none.
struct Tried {
  int64_t n = 0;
  std::optional<double> value = {};
};

// The first from `n` on, by steps, that has a value, up to `most`.
Tried first_from(const std::function<std::optional<double>(int64_t)>& f, int64_t n, int64_t step, int64_t most) {
  for (; n <= most; n += step)
    if (const auto v = f(n)) return {n, v};
  return {n};
}

}  // namespace

double ModelSize::of(std::string_view what) const {
  return what == "params"  ? static_cast<double>(parameters)
         : what == "flops" ? flops_per_token
                           : static_cast<double>(state_bytes);
}

ModelSize size_of(const RunConfig& c, int64_t vocab) {
  const ModelCost cost = count_cost(c.model, vocab, c.train.context);
  return {cost.total.parameters, cost.total.train_flops, cost.total.state_bytes, cost.total.decode_flops};
}

std::optional<int64_t> nearest(const std::function<std::optional<double>(int64_t)>& f, double target, int64_t step,
                               int64_t most) {
  Tried below, above = first_from(f, step, step, most);
  // Twice as far each time, until the target lies between the two.
  while (above.value && *above.value < target) below = std::exchange(above, first_from(f, 2 * above.n, step, most));
  int64_t end = above.value ? above.n : most + step;  // nothing from here on is below the target
  while (below.value && end - below.n > step) {
    const int64_t middle = below.n + (end - below.n) / (2 * step) * step;
    const Tried t = first_from(f, middle, step, end - step);
    if (!t.value)
      end = middle;
    else if (*t.value < target)
      below = t;
    else
      above = t, end = middle;
  }
  if (!above.value || !below.value)
    return above.value ? std::optional(above.n) : below.value ? std::optional(below.n) : std::nullopt;
  return std::log(*above.value / target) < std::log(target / *below.value) ? above.n : below.n;
}

}  // namespace effllm
