#include "decode/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"
#include "base/random.h"

namespace effllm {
namespace {

// Index of the largest logit, the lowest of equal ones.
template <class T>
size_t check_logits(std::span<const T> logits) {
  require(!logits.empty(), "no logits to choose a token from");
  size_t best = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    if (std::isnan(logits[i]) || logits[i] == std::numeric_limits<T>::infinity())
      throw NumericalError("logit {} is {}: the model has diverged; use an earlier checkpoint", i, logits[i]);
    if (logits[i] > logits[best]) best = i;
  }
  if (logits[best] == -std::numeric_limits<T>::infinity())
    throw NumericalError("all {} logits are -inf: no token is possible", logits.size());
  return best;
}

// How many of `order` (most likely first) the filters keep, of weights p.
size_t kept(const std::vector<double>& p, const std::vector<size_t>& order, const SamplerOptions& o) {
  size_t n = order.size();
  if (o.top_k > 0) n = std::min(n, static_cast<size_t>(o.top_k));
  if (o.top_p >= 1) return n;
  double total = 0, sum = 0;
  for (size_t i = 0; i < n; ++i) total += p[order[i]];
  for (size_t i = 0; i < n; ++i)
    if (sum += p[order[i]]; sum >= o.top_p * total) return i + 1;
  return n;
}

template <class T>
std::vector<double> distribution(std::span<const T> logits, const SamplerOptions& o) {
  check(o);
  const size_t best = check_logits(logits);
  std::vector<double> p(logits.size());
  if (o.temperature == 0) {
    p[best] = 1;
    return p;
  }
  const auto top = static_cast<double>(logits[best]);
  for (size_t i = 0; i < p.size(); ++i) p[i] = std::exp((static_cast<double>(logits[i]) - top) / o.temperature);
  if (o.top_k > 0 || o.top_p < 1) {
    std::vector<size_t> order(p.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
    for (size_t i = kept(p, order, o); i < order.size(); ++i) p[order[i]] = 0;
  }
  const double total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& v : p) v /= total;
  return p;
}

}  // namespace

int32_t draw(const std::vector<double>& p, double number) {
  // Walked in the order of indices, so that one random number means the same whichever filter is on.
  size_t chosen = 0;
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) continue;
    chosen = i;  // rounding may leave a rest above zero after the last one
    if ((number -= p[i]) < 0) break;
  }
  return static_cast<int32_t>(chosen);
}

int32_t draw(const std::vector<double>& p, uint64_t seed, uint64_t sample_index, uint64_t token_index) {
  return draw(p, RandomStream(seed, "decode.sample", sample_index, token_index).uniform(0));
}

void check(const SamplerOptions& o) {
  if (!(o.temperature >= 0) || std::isinf(o.temperature))
    throw ConfigError("a temperature of {}: it must be 0 (greedy) or a positive number", o.temperature);
  if (o.top_k < 0) throw ConfigError("a top_k of {}: it must be 0 (all tokens) or positive", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1)) throw ConfigError("a top_p of {}: it must be above 0 and at most 1", o.top_p);
}

std::vector<double> probabilities(std::span<const float> logits, const SamplerOptions& o) {
  return distribution(logits, o);
}
std::vector<double> probabilities(std::span<const double> logits, const SamplerOptions& o) {
  return distribution(logits, o);
}
int32_t sample(std::span<const float> logits, const SamplerOptions& o, uint64_t sample_index, uint64_t token_index) {
  return draw(probabilities(logits, o), o.seed, sample_index, token_index);
}
int32_t sample(std::span<const double> logits, const SamplerOptions& o, uint64_t sample_index, uint64_t token_index) {
  return draw(probabilities(logits, o), o.seed, sample_index, token_index);
}

}  // namespace effllm
