#include "decode/accept.h"

#include <algorithm>
#include <numeric>

#include "base/random.h"

namespace effllm {
namespace {

// max(0, p - q) over its sum; p where rounding alone has left nothing.
std::vector<double> rest_of(std::vector<double> p, const std::vector<double>& q) {
  std::vector<double> rest(p.size());
  for (size_t i = 0; i < p.size(); ++i) rest[i] = std::max(0.0, p[i] - q[i]);
  const double total = std::accumulate(rest.begin(), rest.end(), 0.0);
  if (!(total > 0)) return p;
  for (double& r : rest) r /= total;
  return rest;
}

}  // namespace

Accepted accept(std::span<const Drafted> drafted, const std::function<std::vector<double>(int64_t)>& p, uint64_t seed,
                uint64_t sample, uint64_t index) {
  for (size_t i = 0; i < drafted.size(); ++i) {
    const std::vector<double> wanted = p(static_cast<int64_t>(i));
    const std::vector<double>& q = drafted[i].q;
    const auto number = [&](std::string_view purpose) {
      return RandomStream(seed, purpose, sample, index + i).uniform(0);
    };
    const auto x = static_cast<size_t>(drafted[i].token);
    if (number("decode.accept") * q[x] < wanted[x]) continue;
    return {static_cast<int64_t>(i), draw(rest_of(wanted, q), number("decode.rest"))};
  }
  const auto all = static_cast<int64_t>(drafted.size());
  return {all, draw(p(all), seed, sample, index + drafted.size())};
}

}  // namespace effllm
