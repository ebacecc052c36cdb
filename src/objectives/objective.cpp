#include "objectives/objective.h"

#include <algorithm>

#include "objectives/exit_scores.h"
#include "objectives/two_parts.h"

namespace effllm {

Context with_documents(Context cx, const BatchRows& rows) {
  cx.segments = rows.segments;
  return cx;
}

void tell(const Objective& o, ModelConfig& model) {
  model.causal = o.causal();
  model.extra_ids = o.extra_ids();
  model.extra_targets = o.extra_targets();
  model.parts = o.parts();
  model.prefix = o.prefix();
  model.prefix_share = o.prefix_share();
  model.block = o.block();
  model.uniform = o.uniform();
  model.heads = o.heads();
  model.heads_in_a_row = o.heads_in_a_row();
  const auto layers = static_cast<int64_t>(model.layers.size());
  model.exits = o.exits(layers);
  model.most_exits = o.most_exits(layers);
}

TwoParts Objective::divided(const BatchRows&, int64_t) const {
  throw Error(ExitCode::internal, "the objective has no parts of a row for an encoder and a decoder");
}

void Objective::cut(const Stretch& s, Batch& batch) const { cut_ahead(s, 1, batch); }

void Objective::cut_ahead(const Stretch& s, int64_t ahead, Batch& batch) {
  const auto first = s.text.begin() + s.begin, last = s.text.begin() + s.end;
  batch.inputs.insert(batch.inputs.end(), first, last);
  if (s.labels.empty())
    batch.targets.insert(batch.targets.end(), first + ahead, last + ahead);
  else
    batch.targets.insert(batch.targets.end(), s.labels.begin() + s.begin, s.labels.begin() + s.end);
  const auto targets = batch.targets.end() - (s.end - s.begin);
  std::fill_n(targets, std::clamp<int64_t>(s.scored - s.begin, 0, s.end - s.begin), kIgnoredTarget);
  if (!s.document_starts) return;
  auto document = std::ranges::lower_bound(*s.document_starts, s.begin);
  const auto starts = [&](int64_t i) { return document != s.document_starts->end() && *document == i; };
  int64_t segment = 0;
  for (int64_t i = s.begin; i < s.end; ++i) {
    if (starts(i)) ++segment, ++document;
    batch.segments.push_back(segment);
    if (ahead && starts(i + ahead)) targets[i - s.begin] = kIgnoredTarget;
  }
}

Tensor Objective::loss(const LanguageModel& model, const BatchRows& rows, double weight, const Context& cx,
                       State* state) const {
  return model.loss(rows.inputs, rows.targets, weight, with_documents(cx, rows), state);
}

Context Objective::context_of(const Scoring& how) {
  Context cx;
  if (how.training_choice) cx.phase = Phase::train, cx.leave_out = false;
  cx.samples = Samples(how.first);
  cx.ledger = how.ledger;
  return cx;
}

std::vector<RowScore> Objective::score(const LanguageModel& model, const BatchRows& rows, const Scoring& how) const {
  const Context cx = context_of(how);
  if (how.by_exit) return score_exits(model, rows, how, cx);
  return scores_of_rows(model.logits(rows.inputs, with_documents(cx, rows), how.state), rows, how);
}

}  // namespace effllm
