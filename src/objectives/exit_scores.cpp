#include "objectives/exit_scores.h"

#include <algorithm>

#include "ops/loss.h"

namespace effllm {
namespace {

// The likeliest token of each row of logits.
std::vector<int32_t> likeliest(const Tensor& logits) {
  std::vector<int32_t> all(static_cast<size_t>(logits.rows()));
  if (logits.is_meta()) return all;
  dispatch_float(logits.dtype(), [&]<class T>() {
    const View<const T> z = logits.view<T>();
    for (int64_t r = 0; r < z.rows; ++r)
      all[static_cast<size_t>(r)] = static_cast<int32_t>(std::max_element(z.row(r), z.row(r) + z.cols) - z.row(r));
  });
  return all;
}

}  // namespace

std::vector<double> nats_of_rows(const Tensor& logits, const BatchRows& rows) {
  const int64_t tokens = rows.inputs.dim(1);
  std::vector<double> all;
  for (int64_t b = 0; b < rows.inputs.dim(0); ++b) {
    const Tensor nats =
        cross_entropy(logits.row_range(b * tokens, {tokens, logits.cols()}), rows.targets.row_range(b, {tokens}), 1);
    all.push_back(nats.is_meta() ? 0 : *nats.data<double>());
  }
  return all;
}

void count_right(const Tensor& logits, const BatchRows& rows, std::vector<RowScore>& scores) {
  if (logits.is_meta()) return;
  const std::vector<int32_t> chosen = likeliest(logits);
  const size_t tokens = chosen.size() / scores.size();
  for (size_t i = 0; i < chosen.size(); ++i) scores[i / tokens].right += chosen[i] == rows.targets.data<int32_t>()[i];
}

std::vector<RowScore> score_exits(const LanguageModel& model, const BatchRows& rows, State* state, const Context& cx) {
  std::vector<RowScore> all(static_cast<size_t>(rows.inputs.dim(0)));
  std::vector<std::vector<int32_t>> chosen;  // by layer
  const auto after = [&](int64_t, const Tensor& x) {
    const Tensor logits = model.head(x);
    const std::vector<double> nats = nats_of_rows(logits, rows);
    for (size_t b = 0; b < all.size(); ++b) {
      all[b].nats = nats[b];
      all[b].exits.push_back({.nats = nats[b]});
    }
    chosen.push_back(likeliest(logits));
  };
  model.body(rows.inputs, with_documents(cx, rows), state, after);
  const size_t tokens = static_cast<size_t>(rows.inputs.dim(1)), layers = chosen.size();
  for (size_t i = 0; !rows.inputs.is_meta() && i < all.size() * tokens; ++i) {
    if (rows.targets.data<int32_t>()[i] == kIgnoredTarget) continue;
    RowScore& row = all[i / tokens];
    const int32_t last = chosen.back()[i];
    row.right += last == rows.targets.data<int32_t>()[i];
    size_t settled = layers;
    while (settled > 1 && chosen[settled - 2][i] == last) --settled;
    row.settled += static_cast<int64_t>(settled);
    ++row.predictions;
    for (size_t l = 0; l < layers; ++l) row.exits[l].agrees += chosen[l][i] == last;
  }
  return all;
}

}  // namespace effllm
