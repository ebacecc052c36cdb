#include "train/run.h"

#include <fmt/format.h>

#include <utility>

#include "base/out_of_memory.h"
#include "base/text.h"
#include "data/example_prompt.h"
#include "data/task_data.h"
#include "kernels/parallel.h"
#include "train/signals.h"

namespace effllm {

namespace {

std::string training_samples(const TaskData& task) {
  const int64_t n = task.samples(Split::train);
  return fmt::format("{} of {}", n ? counted(n, "training sample") : "training samples without end", task.info().name);
}

}  // namespace

Run::Run(RunRequest request) : request_(std::move(request)), run_(std::move(request_.config), request_.quiet) {
  build();
}

Run::~Run() = default;

void Run::build() {
  const Activity activity("building the model", "choose a smaller model.d_model");
  // What a new run can't start with is refused before it has a folder.
  std::optional<StoredRun> other = request_.resume ? std::nullopt : open_other(run_, request_);
  take_folder();
  for (const std::string& note : std::exchange(request_.notes, {})) run_.log.note(note);
  for (const std::string& note : run_.x.notes) run_.log.note(note);
  const std::optional<StoredRun> newest = request_.resume ? open_newest(run_, request_) : std::nullopt;
  if (request_.resume && !newest) other = open_other(run_, request_);
  run_.at.first_batch = newest ? newest->record.counters->first_batch : config().train.batch;
  run_.x.build(run_.at.first_batch, !request_.dry || newest);
  if (const auto note = beyond_training(model(), trained_context(config()), evaluation_of(config())); !note.empty())
    run_.log.say("evaluation: " + note);
  if (newest) {
    const Resumed resumed = resume_from(run_, *newest, !request_.dry);
    evaluations_.resumed(resumed.journaled, resumed.measured_anew);
    checkpoints_.resumed(resumed.other_model || resumed.other_data);
  }
  if (other) start_from(run_, *other);
  if (!request_.dry) write_start_files();
}

void Run::take_folder() {
  const std::string& name = config().name;
  if (request_.dry) {
    run_.folder = RunFolder::choose(request_.runs, name, !request_.resume);
    require_unlocked(folder().path());
  } else {
    run_.folder = RunFolder::create(request_.runs, name, !request_.resume);
    lock_ = std::make_unique<FileLock>(folder().path());
    folder().sweep();
    run_.log.file = std::make_unique<AppendFile>(folder().log());
  }
  if (const auto wanted = request_.runs / name; folder().path() != wanted)
    run_.log.say(fmt::format("{} exists; writing to {}", wanted.string(), folder().path().string()));
}

void Run::write_start_files() {
  const Activity activity("writing the run folder", "choose a smaller model.d_model");
  files_.write_configuration(request_.written);
  files_.write_provenance();
  RunLog& log = run_.log;
  if (!log.journal) log.journal = std::make_unique<Journal>(folder().journal());
  log.journal->reports(rows_.row());
  EvalResult none;
  none.kind = run_.x.val.kind;
  none.bound = run_.x.objective->bound();
  log.journal->reports(evaluations_.row(none));
  log.journal->header(folder().path().filename().string(), experiment_hash(config()));
  for (const std::string& note : std::exchange(log.notes, {}))
    log.journal->event(run_.at.step, note.starts_with("warning: ") ? "warning" : "info", note, run_.at.seconds);
  run_.clock.lap(run_.at.other_seconds);
  files_.write_status("running");
  files_.write_metrics("running");
}

void Run::announce() {
  const int64_t step = run_.at.step;
  const TrainOptions& train = config().train;
  run_.log.say(
      fmt::format("{}: {}, {} of {} a step, {}; {}", folder().path().string(),
                  human_counted(static_cast<double>(model().params().count()), "parameter"),
                  human_count(static_cast<double>(train.batch * train.context)),
                  corpus().task() ? training_samples(*corpus().task())
                                  : human_counted(static_cast<double>(run_.x.train.tokens.size()), "training token"),
                  counted(threads(), "thread"), step ? fmt::format("going on from step {}", step) : "starting"));
  if (step > 0 && run_.progress() >= 1)
    run_.log.say(fmt::format(
        "nothing to train: step {} is at the run's horizon or beyond it; to go on, raise the max_ key of train", step));
}

RunOutcome Run::train() {
  announce();
  const int64_t before = run_.at.step;
  try {
    const bool interrupted = !train_steps();
    finish(interrupted, run_.at.step > before);
    return outcome(interrupted);
  } catch (...) {
    run_.log.terminal.clear();
    try {
      files_.write_status("failed");
      files_.write_metrics("failed");
    } catch (const std::exception&) {  // the first error is the one to report
    }
    throw;
  }
}

bool Run::train_steps() {
  Steps steps(run_, request_.patience);
  checkpoints_.begin();
  for (;;) {
    if (Signals::stop_requested()) return false;
    if (run_.progress() >= 1) return true;
    if (const std::optional<StepReport> step = steps.next())
      for (Observer* o : observers_) o->after_step(*step);
  }
}

// The weights are safe before anything else can fail. The row that a signal cuts short is not written: its sums are in
// the checkpoint, and the run that goes on from there writes it whole.
void Run::finish(bool interrupted, bool trained) {
  const Activity activity("writing what the run found", "end other programs");
  run_.log.terminal.clear();
  if (!interrupted) rows_.write();
  checkpoints_.save();
  if (!interrupted) {
    evaluations_.evaluate();
    checkpoints_.save();  // anew only where this evaluation is the best
    if (trained || !samples_.written()) samples_.write();
  }
  run_.log.journal->sync();
  run_.clock.lap(run_.at.other_seconds);
  const char* status = interrupted ? "interrupted" : "done";
  files_.write_metrics(status);
  files_.write_status(status);
  if (interrupted)
    run_.log.say(fmt::format("stopped at step {} with a checkpoint; go on with --resume auto", run_.at.step));
}

RunOutcome Run::outcome(bool interrupted) const {
  const RunCounters& at = run_.at;
  return {.folder = folder().path(),
          .steps = at.step,
          .tokens = at.tokens,
          .seconds = at.seconds,
          .save_seconds = at.save_seconds,
          .other_seconds = at.other_seconds,
          .interrupted = interrupted,
          .best_val = at.best_val,
          .bound = run_.x.objective->bound(),
          .best_bits = evaluations_.best_bits(),
          .prompt = example_prompt(corpus().text(Split::train)),
          .next_split = corpus().has(Split::test) ? "test" : config().eval.split};
}

}  // namespace effllm
