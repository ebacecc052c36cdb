#include "train/run_step.h"

#include <fmt/format.h>

#include "autodiff/interrupt.h"
#include "base/out_of_memory.h"
#include "base/text.h"
#include "train/signals.h"

namespace effllm {
namespace {

constexpr int64_t kSkipsInRow = 3;

}  // namespace

std::optional<StepReport> Steps::next() {
  const Activity activity("training", "lower train.context, train.batch or model.d_model");
  RunCounters& at = run_.at;
  Experiment& x = run_.x;
  run_.clock.lap(at.other_seconds);
  const double before = at.seconds;
  const Batch batch = x.order->at(at.samples);
  const bool continues = at.samples == 0 || x.order->continues(at.samples);
  const double progress = run_.progress(), factor = schedule_->factor(at.step, progress);
  const Interrupt interrupt(
      [this] { return Signals::stop_requested() && patience_.over(Signals::stop_requested_at(), seconds_now()); });
  const std::optional<StepResult> r = take(batch, factor, continues, progress);
  if (!r) return std::nullopt;
  ++at.step;
  at.tokens += r->tokens;
  at.samples += batch.batch;
  at.flops += x.flops_per_token * static_cast<double>(r->tokens);
  patience_.ends(run_.clock.lap(at.seconds));
  if (r->finite) {
    at.skipped_in_row = 0;
  } else {
    skip(batch);
  }
  if (r->learned()) {
    const bool known = at.step > 20 && at.shown_loss > 0;  // not after the first steps, or as another model
    at.shown_loss = known ? 0.95 * at.shown_loss + 0.05 * r->loss : r->loss;
  }
  return StepReport{*r, x.config.optim.lr * factor, at.seconds - before};
}

std::optional<StepResult> Steps::take(const Batch& batch, double factor, bool continues, double progress) {
  const double began = run_.clock.last();
  patience_.begins(began);
  try {
    return run_.x.trainer->step(batch, run_.at.step, factor, continues, progress);
  } catch (const Interrupted&) {
    run_.log.say(fmt::format("the step after {} was given up, {} after it began: it comes again when the run goes on",
                             run_.at.step, human_seconds(seconds_now() - began)));
    return std::nullopt;
  }
}

void Steps::skip(const Batch& batch) {
  RunCounters& at = run_.at;
  const int64_t step = at.step - 1;
  ++at.skipped_in_row;
  std::string where = "every value is finite when the step is run again; its sum was not";
  try {
    run_.x.trainer->find_nonfinite(batch, step);
  } catch (const NumericalError& e) {
    where = e.what();
  } catch (const Interrupted&) {
    where = "where was not looked for, because the run was asked to stop";
  }
  run_.log.journal->event(step, "warning", fmt::format("step left out: {}", where), at.seconds);
  run_.log.say(fmt::format("step {} is not finite and was left out: {}", step, where));
  if (run_.x.config.train.nonfinite == "abort" || at.skipped_in_row > kSkipsInRow)
    throw NumericalError(
        "training stopped at step {}, after {} without finite values: {}. Lower optim.lr, or look at {}", step,
        counted(at.skipped_in_row, "step"), where, run_.folder.log().string());
}

}  // namespace effllm
