// Which spans are taken out of a row, and the two parts that it becomes.
#pragma once
#include <functional>

#include "base/random.h"
#include "objectives/two_parts.h"

namespace effllm {

struct CorruptedSpans {
  double rate, mean_span;
  int64_t sentinels;
  Mark mark;  // of the options

  struct Counts {
    int64_t missing, spans;  // of missing tokens at least 1 and not all, each span with at least one
  };
  // Of a row of so many tokens; one of a single token is missing as a whole.
  Counts counts(int64_t tokens) const;
  void require_sentinels(int64_t tokens) const;  // ConfigError where its spans need more sentinels than there are
  // For each token whether it is missing, with exactly so many: spans and what is kept between have random lengths,
  // all divisions alike, what is kept first and a span last. `noise` draws the spans', `kept` those between.
  std::vector<bool> drawn(int64_t tokens, const RandomStream& noise, const RandomStream& kept) const;
  // Rows [B, T] without their missing(b), which leave numbers of tokens as counts() says, for a vocabulary of so many.
  // ConfigError for too few sentinels.
  TwoParts taken_out(const Tensor& ids, int64_t vocab,
                     const std::function<std::vector<bool>(int64_t b)>& missing) const;
};

}  // namespace effllm
