#include "data/row_order.h"

#include "base/error.h"
#include "base/text.h"

namespace effllm {

RowOrder::RowOrder(const OrderArgs& args)
    : text_(args.text),
      objective_(args.objective),
      shape_(args.shape),
      seed_(args.seed),
      reset_documents_(args.reset_documents) {
  if (shape_.batch < 1 || shape_.tokens < 1)
    throw ConfigError("a batch of {} of {}: both must be at least 1", counted(shape_.batch, "row"),
                      counted(shape_.tokens, "token"));
  if (inputs() < shape_.tokens)
    throw DataError("a row of {} needs a split of at least {} tokens; this one has {}", counted(shape_.tokens, "token"),
                    shape_.tokens + objective_.lookahead(), size());
}

Batch RowOrder::at(int64_t samples) const {
  require(samples >= 0, "a batch after {} samples", samples);
  Batch batch = batch_for(shape_.batch, shape_.tokens, samples);
  for (int64_t b = 0; b < shape_.batch; ++b) {
    const int64_t start = row_start(samples + b);
    objective_.cut({.text = text_.tokens,
                    .begin = start,
                    .end = start + shape_.tokens,
                    .scored = start,
                    .document_starts = reset_documents_ ? &text_.document_starts : nullptr,
                    .training = true},
                   batch);
  }
  return batch;
}

}  // namespace effllm
