#include "train/train_rows.h"

#include <algorithm>
#include <numbers>
#include <utility>

#include "eval/metrics.h"
#include "train/expert_gradients.h"

namespace effllm {
namespace {

constexpr Metric kRate{"lr", "1", "learning rate"},
    kNorm{"grad_norm", "1", "global norm of the gradient before clipping"},
    kEpoch{"epoch", "1", "passes over the training split so far"},
    kFlops{"flops", "FLOP", "floating-point operations so far"}, kSpeed{"tok_per_s", "tokens/s", "tokens per second"};

}  // namespace

TrainRows::TrainRows(LiveRun& run) : run_(run), added_up_(run.x.added_up.rows()) {
  const std::vector<Measured> experts = expert_gradients(run.x.model->params(), nullptr);
  added_up_.insert(added_up_.end(), experts.begin(), experts.end());
}

void TrainRows::after_step(const StepReport& step) {
  seconds_ += step.seconds;
  tokens_ += step.result.tokens;
  lr_ = step.lr;
  learned_ = step.result.learned();
  if (learned_) {
    run_.at.row_loss_sum += step.result.loss;
    ++run_.at.row_loss_count;
    grad_norm_ = step.result.grad_norm;
    if (std::exchange(first_, false)) added_up_.clear();
    keep_newest(step.result.rows);
  }
  if (due(run_.at.step, run_.x.config.train.log_every)) write();
}

void TrainRows::keep_newest(const std::vector<Measured>& rows) {
  for (const Measured& m : rows)
    if (const auto known = std::ranges::find(added_up_, m.name, &Measured::name); known != added_up_.end())
      *known = m;
    else
      added_up_.push_back(m);
}

std::vector<Measured> TrainRows::row() const {
  const RunCounters& at = run_.at;
  const double loss = at.row_loss_sum / static_cast<double>(at.row_loss_count), bits = loss / std::numbers::ln2;
  const Objective& o = *run_.x.objective;
  const LossMetrics& m = !o.trains_score() ? kPredictedMetrics
                         : o.bound()       ? kBoundMetrics
                         : o.given_rest()  ? kMissingMetrics
                                           : kLossMetrics;
  std::vector<Measured> row = {m.loss(loss)};
  const TextKind kind = run_.x.train.kind;
  if (kind == TextKind::ascii || kind == TextKind::utf8)
    row.push_back(m.bits_per_character(bits * run_.x.tokens_per_character));
  if (kind != TextKind::symbols) row.push_back(m.bits_per_byte(bits * run_.x.tokens_per_byte));
  row.insert(row.end(),
             {kRate(lr_), kNorm(grad_norm_), kTrainedTokens(static_cast<double>(at.tokens)), kEpoch(run_.epochs()),
              kFlops(at.flops), kTrainSeconds(at.seconds), kSaveSeconds(at.save_seconds),
              kOtherSeconds(at.other_seconds), kSpeed(seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0)});
  row.insert(row.end(), added_up_.begin(), added_up_.end());
  return row;
}

void TrainRows::write() {
  RunCounters& at = run_.at;
  if (at.row_loss_count == 0 || tokens_ == 0) return;
  run_.clock.lap(at.other_seconds);
  if (learned_) keep_newest(run_.x.trainer->expert_gradients());
  run_.log.journal->row("train", at.step, row());
  at.row_loss_sum = seconds_ = 0;
  at.row_loss_count = tokens_ = 0;
  first_ = true;
}

}  // namespace effllm
