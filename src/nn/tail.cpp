#include "nn/tail.h"

#include <algorithm>

#include "autodiff/tape.h"
#include "ops/splice.h"

namespace effllm {

Tensor keep_tail(const Tensor& field, const Tensor& x, const Counts& before, const Counts& after) {
  const int64_t batch = field.dim(0), rows = field.dim(1), tokens = x.dim(1);
  for (int64_t n : after) require(n <= rows, "{} tokens don't fit a state with room for {}", n, rows);
  if (!Tape::recording()) {
    if (MetaMode::on()) return field;
    for (int64_t b = 0; b < batch; ++b) {
      const int64_t had = before[static_cast<size_t>(b)], want = after[static_cast<size_t>(b)],
                    old = std::max<int64_t>(0, want - tokens), fresh = want - old;
      for (int64_t r = 0; r < old && had != old; ++r)
        copy(field.row_range(b * rows + had - old + r, {1, field.cols()}),
             field.row_range(b * rows + r, {1, field.cols()}));
      if (fresh > 0)
        copy(x.row_range((b + 1) * tokens - fresh, {fresh, x.cols()}),
             field.row_range(b * rows + old, {fresh, x.cols()}));
      if (had > want) fill(field.row_range(b * rows + want, {had - want, field.cols()}), 0);
    }
    return field;
  }
  const Tensor index = Tensor::dense({batch, rows}, DType::i64);
  for (int64_t b = 0; !MetaMode::on() && b < batch; ++b) {
    const int64_t had = before[static_cast<size_t>(b)], want = after[static_cast<size_t>(b)];
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t from = had + tokens - want + r;  // among the rows in use, then the new ones
      index.data<int64_t>()[b * rows + r] = r >= want ? -1 : from < had ? from : rows + from - had;
    }
  }
  return splice_rows(field, x, index);
}

}  // namespace effllm
