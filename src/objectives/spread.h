// Numbers in [0, 1) that are spread evenly over rows, or over draws: each is uniform by itself, and a mean over them
// varies less than if each were drawn apart.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "objectives/objective.h"

namespace effllm {

// Over the rows of a training batch, `each` of every row. [0, 1) is parted evenly among the numbers; the step and the
// sample say where a number lies in its part. Where the first part begins the step alone says: parts go round from
// there, and no place in a batch has the same one always.
class BatchSpread {
 public:
  // The rows and the context must outlive it.
  BatchSpread(std::string_view purpose, const BatchRows& rows, const Context& cx, int64_t each = 1);
  double operator()(int64_t row, int64_t number = 0) const;

 private:
  const std::string purpose_;
  const BatchRows& rows_;
  const Context& cx_;
  const int64_t each_;
  const double start_;
};

// Over an evaluation, of draw `draw` of what has this number there: by the golden ratio from one to the next, and
// evenly over its draws.
double spread_over_draws(std::string_view purpose, const Scoring& how, int64_t number, int64_t draw);

// What rows cost, the mean over draws, and the variance of it as if draws were independent: evenly spread ones have
// less. Welford's sums.
class MeanOfDraws {
 public:
  explicit MeanOfDraws(int64_t rows) : scores_(static_cast<size_t>(rows)) {}
  void add(const std::vector<double>& nats);  // of each row, in the next draw
  std::vector<RowScore> scores() const;       // a variance of NaN where there was one draw

 private:
  std::vector<RowScore> scores_;
  double draws_ = 0;
};

}  // namespace effllm
