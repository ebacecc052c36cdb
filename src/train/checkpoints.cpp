#include "train/checkpoints.h"

#include <fmt/format.h>

#include <map>
#include <string>
#include <utility>

#include "base/escapes.h"
#include "base/out_of_memory.h"
#include "checkpoint/metadata.h"
#include "checkpoint/moments.h"
#include "train/signals.h"

namespace effllm {
namespace {

std::map<std::string, std::string> metadata_of(const LiveRun& run) {
  const Experiment& x = run.x;
  const RunRecord record{.defaults = run.lineage.defaults,
                         .config = x.config,
                         .vocab = x.tokenizer->to_json(),
                         .corpus = x.corpus.identity(),
                         .corpus_name = x.corpus.manifest().name,
                         .manifest = x.corpus.file(),
                         .earlier_data = run.lineage.earlier_data,
                         .grown = run.lineage.grown,
                         .origin = run.lineage.origin,
                         .step = run.at.step,
                         .counters = run.at};
  return to_metadata(record, x.model->params());
}

int64_t step_of(const std::filesystem::path& path) {  // -1: it is missing or damaged
  try {
    const SafetensorsFile file(path);
    return Metadata(file, path.string()).integer("step");
  } catch (const Error&) {
    return -1;
  }
}

}  // namespace

void Checkpoints::after_step(const StepReport&) {
  const TrainOptions& train = run_.x.config.train;
  const bool overdue = train.save_seconds > 0 && seconds_now() - saved_at_ > static_cast<double>(train.save_seconds);
  const bool requested = Signals::checkpoint_requested();
  if (!evaluations_.due(run_.at.step) && !overdue && !due(run_.at.step, train.save_every) && !requested) return;
  save();
  if (requested) files_.write_metrics("running");  // whoever asks for a checkpoint wants to look
  saved_at_ = seconds_now();
}

void Checkpoints::save() {
  RunCounters& at = run_.at;
  if (saved_step_ == at.step && saved_best_ == at.best_step) return;
  const Activity activity("saving a checkpoint", "choose a smaller model.d_model");
  run_.clock.lap(at.other_seconds);
  Experiment& x = run_.x;
  const ShownWeights shown(*x.optimizer);
  std::vector<NamedTensor> more = moments(*x.optimizer);
  for (const auto& c : x.trainer->carried()) more.push_back({c.name, c.value});
  at.optimizer_steps = x.optimizer->steps();
  const auto metadata = metadata_of(run_);
  run_.log.journal->sync();  // no checkpoint is ahead of its rows
  const RunFolder& folder = run_.folder;
  if (aside_)
    if (const auto kept = folder.set_best_aside(*std::exchange(aside_, std::nullopt)))
      run_.log.say(fmt::format("{} keeps the best of the run before the change", path_text(*kept)));
  save_checkpoint(folder.checkpoint(at.step), x.model->params(), more, metadata);
  saved_step_ = at.step;
  saved_best_ = at.best_step;
  if (at.best_step == at.step) folder.mark_best(at.step);
  folder.rotate(x.config.train.keep);
  run_.clock.lap(at.save_seconds);
  files_.write_status("running");
  if (files_.metrics_due()) files_.write_metrics("running");
  run_.clock.lap(at.save_seconds);
}

void Checkpoints::resumed(bool aside) {
  saved_step_ = run_.at.step;
  saved_best_ = run_.at.best_step;
  if (aside) aside_ = run_.at.step;
  if (run_.log.file) mark_best_again();  // a dry run writes nothing
}

// A kill may have come between the checkpoint and its mark.
void Checkpoints::mark_best_again() {
  const int64_t best = run_.at.best_step;
  if (best < 0 || step_of(run_.folder.best()) == best) return;
  if (step_of(run_.folder.checkpoint(best)) == best) run_.folder.mark_best(best);
}

}  // namespace effllm
