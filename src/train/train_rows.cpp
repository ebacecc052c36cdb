#include "train/train_rows.h"

#include <numbers>

namespace effllm {

void TrainRows::after_step(const StepReport& step) {
  seconds_ += step.seconds;
  tokens_ += step.result.tokens;
  lr_ = step.lr;
  if (step.result.finite) {
    run_.at.row_loss_sum += step.result.loss;
    ++run_.at.row_loss_count;
    grad_norm_ = step.result.grad_norm;
  }
  if (due(run_.at.step, run_.x.config.train.log_every)) write();
}

void TrainRows::write() {
  RunCounters& at = run_.at;
  if (at.row_loss_count == 0) return;
  run_.clock.lap(at.other_seconds);
  const double loss = at.row_loss_sum / static_cast<double>(at.row_loss_count);
  std::vector<std::pair<std::string, double>> row = {
      {"loss", loss},
      {"bpc", loss / std::numbers::ln2 * run_.x.tokens_per_character},
      {"bpb", loss / std::numbers::ln2 * run_.x.tokens_per_byte},
      {"lr", lr_},
      {"grad_norm", grad_norm_},
      {"tokens", static_cast<double>(at.tokens)},
      {"epoch", run_.epochs()},
      {"flops", at.flops},
      {"wall_s", at.seconds},
      {"save_s", at.save_seconds},
      {"other_s", at.other_seconds},
      {"tok_per_s", seconds_ > 0 ? static_cast<double>(tokens_) / seconds_ : 0},
  };
  if (run_.x.train.kind == TextKind::bytes) row.erase(row.begin() + 1);
  run_.log.journal->row("train", at.step, row);
  at.row_loss_sum = seconds_ = 0;
  at.row_loss_count = tokens_ = 0;
}

}  // namespace effllm
