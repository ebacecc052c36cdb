#include "objectives/exit_scores.h"

#include <algorithm>

#include "kernels/loss.h"
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

// Of each row the nats of the targets that count. logits: [B T, Q]; 0 on shapes alone.
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

// Fills RowScore::token_nats.
void add_token_nats(const Tensor& logits, const BatchRows& rows, std::vector<RowScore>& scores) {
  if (logits.is_meta()) return;
  const auto tokens = logits.rows() / static_cast<int64_t>(scores.size());
  dispatch_float(logits.dtype(), [&]<class T>() {
    for (size_t b = 0; b < scores.size(); ++b) {
      const int64_t first = static_cast<int64_t>(b) * tokens;
      scores[b].token_nats.assign(static_cast<size_t>(tokens), 0);
      kernel::cross_entropy<T>(logits.view<T>().part(first, tokens), rows.targets.data<int32_t>() + first, nullptr, 1,
                               0, {}, scores[b].token_nats.data(), nullptr);
    }
  });
}

}  // namespace

std::vector<RowScore> scores_of_rows(const Tensor& logits, const BatchRows& rows, const Scoring& how) {
  std::vector<RowScore> all;
  for (const double nats : nats_of_rows(logits, rows)) all.push_back({.nats = nats});
  if (how.each_token) add_token_nats(logits, rows, all);
  if (!how.count_right || logits.is_meta()) return all;
  const std::vector<int32_t> chosen = likeliest(logits);
  const size_t tokens = chosen.size() / all.size();
  for (size_t i = 0; i < chosen.size(); ++i) all[i / tokens].right += chosen[i] == rows.targets.data<int32_t>()[i];
  return all;
}

std::vector<RowScore> score_exits(const LanguageModel& model, const BatchRows& rows, const Scoring& how,
                                  const Context& cx) {
  std::vector<RowScore> all(static_cast<size_t>(rows.inputs.dim(0)));
  std::vector<std::vector<int32_t>> chosen;  // by layer
  const auto after = [&](int64_t, const Tensor& x) {
    const Tensor logits = model.head(x);
    const std::vector<double> nats = nats_of_rows(logits, rows);
    for (size_t b = 0; b < all.size(); ++b) {
      all[b].nats = nats[b];
      all[b].exits.push_back({.nats = nats[b]});
    }
    if (how.each_token) add_token_nats(logits, rows, all);
    chosen.push_back(likeliest(logits));
  };
  model.body(rows.inputs, with_documents(cx, rows), how.state, after);
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
