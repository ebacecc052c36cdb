#include "objectives/two_parts.h"

#include <algorithm>

#include "objectives/exit_scores.h"

namespace effllm {

Tensor columns_of(const Tensor& ids, int64_t from, int64_t to) {
  const Tensor part = Tensor::dense({ids.dim(0), to - from}, DType::i32);
  for (int64_t b = 0; !part.is_meta() && b < ids.dim(0); ++b)
    std::copy_n(ids.data<int32_t>() + b * ids.dim(1) + from, to - from, part.data<int32_t>() + b * (to - from));
  return part;
}

Context with_encoded(const LanguageModel& model, const TwoParts& row, const Context& cx, int64_t tokens) {
  const auto share = [&](const Tensor& ids) { return static_cast<double>(ids.dim(1)) / static_cast<double>(tokens); };
  Context encoder = cx, decoder = cx;
  encoder.share = share(row.read);
  decoder.share = share(row.inputs);
  decoder.memory = model.encode(row.read, encoder, row.lengths);
  return decoder;
}

std::vector<RowScore> score_parts(const LanguageModel& model, const TwoParts& row, const Scoring& how,
                                  const Context& cx, int64_t tokens) {
  require(!how.state, "a row begins with an encoder, and goes on from no state");
  const BatchRows rows{.inputs = row.inputs, .targets = row.targets, .segments = {}};
  const Context with = with_encoded(model, row, cx, tokens);
  if (how.by_exit) return score_exits(model, rows, how, with);
  return scores_of_rows(model.logits(rows.inputs, with), rows, how);
}

}  // namespace effllm
