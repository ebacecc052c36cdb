#include "data/row_order.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace effllm {

int64_t Batch::counted() const {
  return std::ranges::count_if(targets, [](int32_t t) { return t != kIgnoredTarget; });
}

RowOrder::RowOrder(const OrderArgs& args)
    : text_(args.text), shape_(args.shape), seed_(args.seed), reset_documents_(args.reset_documents) {
  if (shape_.batch < 1 || shape_.tokens < 1)
    throw ConfigError("a batch of {} of {}: both must be at least 1", counted(shape_.batch, "row"),
                      counted(shape_.tokens, "token"));
  if (size() <= shape_.tokens)
    throw DataError("a row of {} needs a split of at least {} tokens; this one has {}", counted(shape_.tokens, "token"),
                    shape_.tokens + 1, size());
}

Batch RowOrder::at(int64_t samples) const {
  require(samples >= 0, "a batch after {} samples", samples);
  const auto n = static_cast<size_t>(shape_.batch * shape_.tokens);
  Batch batch{.batch = shape_.batch,
              .tokens = shape_.tokens,
              .first_sample = samples,
              .inputs = {},
              .targets = {},
              .segments = {}};
  batch.inputs.reserve(n);
  batch.targets.reserve(n);
  if (reset_documents_) batch.segments.reserve(n);
  for (int64_t b = 0; b < shape_.batch; ++b) fill_row(row_start(samples + b), b, batch);
  return batch;
}

// Appends row b: inputs [start, start + T), targets one further.
void RowOrder::fill_row(int64_t start, int64_t b, Batch& batch) const {
  const auto first = text_.tokens.begin() + start;
  batch.inputs.insert(batch.inputs.end(), first, first + shape_.tokens);
  batch.targets.insert(batch.targets.end(), first + 1, first + 1 + shape_.tokens);
  if (!reset_documents_) return;
  int32_t* const targets = batch.targets.data() + b * shape_.tokens;
  auto document = std::ranges::lower_bound(text_.document_starts, start);
  int64_t segment = 0;
  for (int64_t t = 0; t < shape_.tokens; ++t) {
    if (document != text_.document_starts.end() && *document == start + t) ++segment, ++document;
    batch.segments.push_back(segment);
    if (document != text_.document_starts.end() && *document == start + t + 1) targets[t] = kIgnoredTarget;
  }
}

}  // namespace effllm
