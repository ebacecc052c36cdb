#include "verify/read_of.h"

#include <algorithm>

#include "objectives/two_parts.h"

namespace effllm {

Tensor read_of(const Objective& objective, const LanguageModel& model, const Tensor& ids) {
  const int64_t rows = ids.dim(0), tokens = std::min(ids.dim(1), model.config().longest_row());
  Batch batch = batch_for(rows, tokens);
  for (int64_t b = 0; b < rows; ++b) {
    const int32_t* row = ids.view<int32_t>().row(b);
    std::vector<int32_t> text(row, row + tokens);
    text.insert(text.end(), static_cast<size_t>(objective.scored_ahead()), row[0]);  // targets that nobody asks for
    objective.cut({.text = text, .begin = 0, .end = tokens, .scored = 0, .document_starts = nullptr}, batch);
  }
  return objective.divided(batch.rows(0, rows), model.vocab()).read;
}

}  // namespace effllm
