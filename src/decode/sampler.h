// Draws the next token from logits. Counter-based: a token is a function of (logits, options, sample, token index).
#pragma once
#include <cstdint>
#include <span>
#include <vector>

namespace effllm {

struct SamplerOptions {
  double temperature = 1;  // divides the logits; 0: greedy, the largest logit
  int64_t top_k = 0;       // keep the k most likely; 0: all
  double top_p = 1;        // keep the fewest whose probabilities reach p (Holtzman et al. 2020)
  uint64_t seed = 1;
};

// ConfigError for a temperature below 0 or not finite, a negative top_k, a top_p outside (0, 1].
void check(const SamplerOptions& options);

// What is drawn from, [Q], sums to 1. Temperature comes first, then top-k, then top-p on what top-k left, renormalised
// after each. At equal logits the lower index counts as the more likely one. Logits of -inf have no probability.
// NumericalError for NaN, +inf, or nothing but -inf.
std::vector<double> probabilities(std::span<const float> logits, const SamplerOptions& options);
std::vector<double> probabilities(std::span<const double> logits, const SamplerOptions& options);

// The token that a number of [0, 1) falls on, of probabilities that sum to 1.
int32_t draw(const std::vector<double>& p, double number);
// That of sample number `sample_index` at position `token_index`.
int32_t draw(const std::vector<double>& p, uint64_t seed, uint64_t sample_index, uint64_t token_index);

// The token for sample number `sample_index` at position `token_index`. Errors as above.
int32_t sample(std::span<const float> logits, const SamplerOptions& options, uint64_t sample_index,
               uint64_t token_index);
int32_t sample(std::span<const double> logits, const SamplerOptions& options, uint64_t sample_index,
               uint64_t token_index);

}  // namespace effllm
