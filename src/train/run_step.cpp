// The steps of a run: one after the other, and what is due after each.
#include <fmt/format.h>

#include <cmath>

#include "autodiff/interrupt.h"
#include "base/clock.h"
#include "base/out_of_memory.h"
#include "base/text.h"
#include "train/run.h"
#include "train/signals.h"

namespace effllm {
namespace {

constexpr int64_t kSkipsInRow = 3;

bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

}  // namespace

void Run::run_steps() {
  saved_at_ = seconds_now();
  while (!(interrupted_ = Signals::stop_requested()) && progress() < 1) {
    if (!step_once()) continue;  // somebody wants it to stop
    if (const std::string warning = guess_->after(at_.step, at_.shown_loss); !warning.empty()) {
      journal_->event(at_.step, "warning", warning, at_.seconds);
      say(warning);
    }
    terminal_.update(status_text());
    if (due(at_.step, config_.train.log_every)) log_row();
    const bool evaluates = due(at_.step, config_.train.eval_every);
    if (evaluates) evaluate_now();
    if (due(at_.step, config_.train.sample_every)) sample_now();
    const bool overdue =
        config_.train.save_seconds > 0 && seconds_now() - saved_at_ > static_cast<double>(config_.train.save_seconds);
    const bool requested = Signals::checkpoint_requested();
    if (evaluates || overdue || due(at_.step, config_.train.save_every) || requested) {
      save();
      if (requested) write_metrics("running");  // whoever asks for a checkpoint wants to look
      saved_at_ = seconds_now();
    }
  }
}

bool Run::step_once() {
  const Activity activity("training", "lower train.context, train.batch or model.d_model");
  lap(at_.other_seconds);
  const double before = at_.seconds;
  const Batch batch = order_->at(at_.samples);
  const bool continues = at_.samples == 0 || order_->continues(at_.samples);
  const double factor = schedule_factor(config_.schedule, at_.step, progress());
  const Interrupt interrupt(
      [this] { return Signals::stop_requested() && patience_.over(Signals::stop_requested_at(), seconds_now()); });
  StepResult r;
  patience_.begins(lapped_);
  try {
    r = trainer_->step(batch, at_.step, factor, continues);
  } catch (const Interrupted&) {
    say(fmt::format("the step after {} was given up, {} after it began: it comes again when the run goes on", at_.step,
                    human_seconds(seconds_now() - lapped_)));
    return false;
  }
  ++at_.step;
  at_.tokens += r.tokens;
  at_.samples += batch.batch;
  at_.flops += flops_per_token_ * static_cast<double>(r.tokens);
  lap(at_.seconds);
  patience_.ends(lapped_);
  row_seconds_ += at_.seconds - before;
  row_tokens_ += r.tokens;
  last_lr_ = config_.optim.lr * factor;
  if (r.finite) {
    at_.skipped_in_row = 0;
    at_.row_loss_sum += r.loss;
    ++at_.row_loss_count;
    last_norm_ = r.grad_norm;
    const bool known = at_.step > 20 && at_.shown_loss > 0;  // not after the first steps, or as another model
    at_.shown_loss = known ? 0.95 * at_.shown_loss + 0.05 * r.loss : r.loss;
    return true;
  }
  skip(batch);
  return true;
}

void Run::skip(const Batch& batch) {
  ++at_.skipped_in_row;
  std::string where = "every value is finite when the step is run again; its sum was not";
  try {
    trainer_->find_nonfinite(batch, at_.step - 1);
  } catch (const NumericalError& e) {
    where = e.what();
  } catch (const Interrupted&) {
    where = "where was not looked for, because the run was asked to stop";
  }
  journal_->event(at_.step - 1, "warning", fmt::format("step left out: {}", where), at_.seconds);
  say(fmt::format("step {} is not finite and was left out: {}", at_.step - 1, where));
  if (config_.train.nonfinite == "abort" || at_.skipped_in_row > kSkipsInRow)
    throw NumericalError(
        "training stopped at step {}, after {} without finite values: {}. Lower optim.lr, or look at {}", at_.step - 1,
        counted(at_.skipped_in_row, "step"), where, folder_.log().string());
}

}  // namespace effllm
