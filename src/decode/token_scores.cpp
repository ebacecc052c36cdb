#include "decode/token_scores.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/text.h"

namespace effllm {
namespace {

// log p of all tokens is their logits less this.
template <class T>
double log_sum(std::span<const T> logits) {
  const double largest = static_cast<double>(*std::ranges::max_element(logits));
  double sum = 0;
  for (const T z : logits) sum += std::exp(static_cast<double>(z) - largest);
  if (!std::isfinite(largest) || !std::isfinite(sum)) throw NumericalError("the model gave values that are not finite");
  return largest + std::log(sum);
}

template <class T>
TokenScore score_of(std::span<const T> logits, int32_t token, size_t most) {
  const double sum = log_sum(logits);
  const auto value = [&](int32_t id) { return static_cast<double>(logits[static_cast<size_t>(id)]) - sum; };
  TokenScore s{.log_likelihood = value(token)};
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto end = ids.begin() + static_cast<int64_t>(std::min(most, ids.size()));
  std::ranges::partial_sort(ids, end, [&](int32_t a, int32_t b) {
    const T x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  });
  for (auto i = ids.begin(); i != end; ++i) s.likeliest.emplace_back(*i, value(*i));
  return s;
}

}  // namespace

std::vector<TokenScore> score_tokens(const LanguageModel& model, std::span<const int32_t> tokens, int64_t most) {
  const auto inputs = static_cast<int64_t>(tokens.size()) - 1;
  std::vector<TokenScore> all;
  if (inputs < 1) return all;
  if (inputs > model.longest())
    throw ConfigError("the model has learned positions for {}: {} can't be scored", counted(model.longest(), "token"),
                      counted(inputs + 1, "token"));
  const Tape::Paused paused;
  const Tensor logits = model.logits(Tensor::view_of(tokens.first(tokens.size() - 1), {1, inputs}), {});
  dispatch_float(logits.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < inputs; ++i)
      all.push_back(score_of(std::span<const T>(logits.view<T>().row(i), static_cast<size_t>(logits.cols())),
                             tokens[static_cast<size_t>(i) + 1], static_cast<size_t>(most)));
  });
  return all;
}

}  // namespace effllm
