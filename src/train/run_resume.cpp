#include "train/run_resume.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "base/escapes.h"
#include "base/text.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/metadata.h"
#include "checkpoint/moments.h"
#include "train/run.h"

namespace effllm {
namespace {

// Splits that moved would have it train on what was validation.
void require_same_data(LiveRun& run, const StoredRun& newest, bool allow_other_data) {
  const std::string path = newest.path.string();
  const Experiment& x = run.x;
  if (const std::string note = not_recorded(newest.record, path); !note.empty()) run.log.say(note);
  std::string& earlier = run.lineage.earlier_data;
  earlier = newest.record.earlier_data;
  const std::string found = join(differences(newest.record.corpus, x.corpus.identity()), "; ");
  const bool other_words = newest.record.vocab != x.tokenizer->to_json();
  if (other_words) stored_tokenizer(newest.record, path);  // says where it is damaged
  if (!found.empty() && (!allow_other_data || other_words))
    throw DataError("{}: the run was trained on another corpus than {}: {}. Put the corpus back, {}", path,
                    x.corpus.task() ? "the task now gives" : x.corpus.file().string(), found,
                    other_words
                        ? "or train anew without --resume: this one has other symbols than the model's vocabulary"
                        : "train anew without --resume, or go on with this one all the same: --allow-data-mismatch");
  if (!found.empty()) earlier += fmt::format("until step {}: {}\n", newest.record.step, found);
  if (other_words) throw CheckpointError("{}: has another vocabulary than data.tokenizer gives", path);
}

// What differs from the checkpoint's configuration and was not refused.
void tell_changes(LiveRun& run, const RunConfig& before, const RunChanges& changes) {
  for (const ConfigChange& c : changes.model) run.log.note("warning: another model from here on: " + c.text());
  for (const std::string& line : told(changes.other)) run.log.note("changed: " + line);
  for (const auto& jump : {lr_jump, curriculum_jump})
    if (std::string text = jump(before, run.x.config, run.spent()); !text.empty()) run.log.note(std::move(text));
}

// A loss is the best only among those that were measured alike, on the same text.
void forget_other_best(LiveRun& run, const RunConfig& then, Resumed& resumed) {
  const auto how = [](const RunConfig& c) { return c.eval.split + ", " + describe(evaluation_of(c)); };
  const std::string before = how(then), after = how(run.x.config);
  RunCounters& at = run.at;
  const bool other = resumed.other_model || resumed.other_data;
  if (other) {  // nor may evaluation and generation go on with weights of the run that was
    at.row_loss_sum = at.shown_loss = 0;
    at.row_loss_count = 0;
  }
  if (at.best_step < 0 || (before == after && !other)) return;
  run.log.say(before == after
                  ? fmt::format("evaluated from now on {}: the best loss starts anew",
                                resumed.other_model ? "as another model" : "on other data")
                  : fmt::format("evaluated from now on by {} instead of {}: the best loss starts anew", after, before));
  at.best_val = std::numeric_limits<double>::quiet_NaN();
  at.best_step = -1;
  resumed.measured_anew = true;
}

// What one optimizer remembers is nothing to another, or to one that keeps something else: it begins as in a new run.
void load_optimizer(LiveRun& run, const StoredRun& newest) {
  const auto &before = newest.record.config.optim.type, &now = run.x.config.optim.type;
  const SlotKinds kept = slots_of(before), wanted = slots_of(now);
  const auto alike = [&](const Parameter* p) { return kept(*p) == wanted(*p); };
  if (&before.info() == &now.info() && std::ranges::all_of(run.x.model->params().sorted(), alike))
    load_moments(newest.file, newest.path.string(), *run.x.optimizer);
  else
    run.at.optimizer_steps = 0;
  run.x.optimizer->set_steps(run.at.optimizer_steps);
  run.x.optimizer->exchange();  // what is saved are the weights that count
}

void load_carried(LiveRun& run, const StoredRun& newest) {
  const std::string path = newest.path.string();
  for (const auto& c : run.x.trainer->carried())
    if (!load_state_tensor(newest.file, path, c))
      throw CheckpointError("{}: lacks the carried state `{}`", path, c.name);
}

void tell_other_data(LiveRun& run, const std::string& before) {
  const std::string& now = run.lineage.earlier_data;
  run.log.warn(
      run.at.step, run.at.seconds,
      fmt::format("trained on other data from here on; {}", now.substr(before.size(), now.size() - before.size() - 1)));
}

int64_t last_evaluation(const LiveRun& run) {
  std::error_code error;
  if (!std::filesystem::exists(run.folder.journal(), error)) return -1;  // only where it is dry
  const JournalData rows = read_journal(run.folder.journal());
  const JournalTable* t = rows.find(evaluation_kind(run.x.config.eval.split));
  return t ? t->step.back() : -1;
}

// False of a model that was made larger until it goes on: its journal has no line.
bool begun(const std::filesystem::path& journal) {
  std::error_code error;
  return std::filesystem::file_size(journal, error) > 0 && !error;
}

}  // namespace

std::optional<StoredRun> open_newest(LiveRun& run, const RunRequest& request) {
  std::vector<std::string> refused;
  const auto step = run.folder.newest_valid(refused);
  for (const auto& r : refused) run.log.say("passed over a checkpoint: " + r);
  std::error_code error;
  const bool journal_exists = std::filesystem::exists(run.folder.journal(), error);
  if (!step) {
    if (!refused.empty())
      throw CheckpointError("{}: no checkpoint can be read ({}); move the folder away to start anew",
                            run.folder.path().string(), refused.front());
    if (journal_exists && !request.dry) {  // it was killed before its first checkpoint
      run.log.journal = std::make_unique<Journal>(run.folder.journal());
      run.log.journal->resume(0, "the start");
    }
    return std::nullopt;
  }
  const std::filesystem::path path = run.folder.checkpoint(*step);
  SafetensorsFile file(path);
  RunRecord record = read_record(file, path.string());
  const Metadata metadata(file, path.string());
  if (!record.counters) metadata.text("optimizer_steps");  // weights alone: says what is missing
  if (record.step != *step) metadata.refuse("step", fmt::format("the file's name says {}", *step));
  StoredRun newest{path, std::move(file), std::move(record)};
  Experiment& x = run.x;
  x.use_defaults_of(newest.record.defaults);
  require_same_run(changes_between(newest.record.config, x.config), newest.file, newest.record, x.config, *x.tokenizer,
                   path.string(), request.allow_other_model);
  require_same_data(run, newest, request.allow_other_data);
  if (!request.from.empty()) run.log.note("--from does nothing: the run goes on from its own checkpoint");
  return newest;
}

Resumed resume_from(LiveRun& run, const StoredRun& newest, bool writes) {
  Experiment& x = run.x;
  load_parameters(newest.file, newest.path.string(), x.model->params());
  run.at = *newest.record.counters;
  run.lineage.origin = newest.record.origin;
  run.lineage.defaults = newest.record.defaults;
  run.lineage.grown = newest.record.grown;
  load_optimizer(run, newest);
  const RunConfig& before = newest.record.config;
  const RunChanges changes = changes_between(before, x.config);
  Resumed resumed{.other_model = !changes.model.empty(),
                  .other_data = run.lineage.earlier_data != newest.record.earlier_data};
  tell_changes(run, before, changes);
  if (&before.optim.type.info() != &x.config.optim.type.info())
    run.log.note("warning: another optimizer from here on: it begins with nothing remembered");
  forget_other_best(run, before, resumed);
  if (!resumed.other_model && !resumed.other_data)
    load_carried(run, newest);
  else if (x.config.train.carry_state)
    run.log.note("train.carry_state: what rows remember is of the run before the change: they start from nothing");
  if (!run.lineage.grown.empty() && !begun(run.folder.journal())) {  // it made its folder
    std::istringstream each(run.lineage.grown);
    for (std::string line; std::getline(each, line);) run.log.note("the model grew " + line);
  } else if (writes) {
    run.log.journal = std::make_unique<Journal>(run.folder.journal());
    run.log.journal->resume(run.at.step, newest.path.filename().string());
  }
  if (resumed.other_data) tell_other_data(run, newest.record.earlier_data);
  resumed.journaled = last_evaluation(run);
  return resumed;
}

std::optional<StoredRun> open_other(LiveRun& run, const RunRequest& request) {
  if (request.from.empty()) return std::nullopt;
  const std::filesystem::path path = find_checkpoint(request.from);
  SafetensorsFile file(path);
  RunRecord record = read_record(file, path.string());
  run.x.use_defaults_of(record.defaults);
  require_same_weights(file, record, run.x.config, *run.x.tokenizer, path.string(), request.allow_other_model);
  return StoredRun{path, std::move(file), std::move(record)};
}

void start_from(LiveRun& run, const StoredRun& other) {
  if (run.x.trainer) {
    load_parameters(other.file, other.path.string(), run.x.model->params());
    run.lineage.defaults = other.record.defaults;
    run.lineage.origin = {path_text(other.path), parameter_hash(run.x.model->params()), other.record.step};
  }
  run.log.note(fmt::format("starts with the weights of {} (step {})", path_text(other.path), other.record.step));
}

}  // namespace effllm
