// How a run goes on: from its newest checkpoint, if that is of the same run.
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "base/escapes.h"
#include "base/text.h"
#include "io/checkpoint.h"
#include "io/metadata.h"
#include "model/old_defaults.h"
#include "train/moments.h"
#include "train/run.h"
#include "train/run_changes.h"

namespace effllm {

std::optional<Run::Newest> Run::open_newest() {
  std::vector<std::string> refused;
  const auto step = folder_.newest_valid(refused);
  for (const auto& r : refused) say("passed over a checkpoint: " + r);
  std::error_code error;
  const bool journal_exists = std::filesystem::exists(folder_.journal(), error);
  if (!step) {
    if (!refused.empty())
      throw CheckpointError("{}: no checkpoint can be read ({}); move the folder away to start anew",
                            folder_.path().string(), refused.front());
    if (journal_exists && !request_.dry) {  // it was killed before its first checkpoint
      journal_ = std::make_unique<Journal>(folder_.journal());
      journal_->resume(0, "the start");
    }
    return std::nullopt;
  }
  const std::filesystem::path path = folder_.checkpoint(*step);
  SafetensorsFile file(path);
  RunRecord record = read_record(file, path.string());
  const Metadata metadata(file, path.string());
  if (!record.counters) metadata.text("optimizer_steps");  // weights alone: says what is missing
  if (record.step != *step) metadata.refuse("step", fmt::format("the file's name says {}", *step));
  Newest newest{path, std::move(file), std::move(record)};
  use_defaults_of(newest.record.defaults, config_.model);
  const RunChanges changes = changes_between(newest.record.config, config_);
  require_same_run(changes, newest.file, newest.record, config_, *tokenizer_, path.string(),
                   request_.allow_other_model);
  other_model_ = !changes.model.empty();
  require_same_data(newest);
  if (!request_.from.empty()) note("--from does nothing: the run goes on from its own checkpoint");
  return newest;
}

std::optional<Run::Newest> Run::open_other() {
  if (request_.from.empty()) return std::nullopt;
  const std::filesystem::path path = find_checkpoint(request_.from);
  SafetensorsFile file(path);
  RunRecord record = read_record(file, path.string());
  use_defaults_of(record.defaults, config_.model);
  require_same_weights(file, record, config_, *tokenizer_, path.string(), request_.allow_other_model);
  return Newest{path, std::move(file), std::move(record)};
}

void Run::start_from(const Newest& other) {
  if (!request_.dry) {
    load_parameters(other.file, other.path.string(), model_->params());
    defaults_ = other.record.defaults;
    origin_ = {path_text(other.path), parameter_hash(model_->params()), other.record.step};
  }
  note(fmt::format("starts with the weights of {} (step {})", path_text(other.path), other.record.step));
}

void Run::note(std::string text) {
  say(text);
  request_.notes.push_back(std::move(text));
}

// What differs from the checkpoint's configuration and was not refused.
void Run::tell_changes(const RunConfig& before) {
  const RunChanges changes = changes_between(before, config_);
  for (const ConfigChange& c : changes.model) note("warning: another model from here on: " + c.text());
  for (const ConfigChange& c : changes.other) note("changed: " + c.text());
  if (std::string jump = lr_jump(before, config_, spent()); !jump.empty()) note(std::move(jump));
}

// Splits that moved would have it train on what was validation.
void Run::require_same_data(const Newest& newest) {
  const std::string path = newest.path.string();
  if (const std::string note = not_recorded(newest.record, path); !note.empty()) say(note);
  earlier_data_ = newest.record.earlier_data;
  const std::string found = join(differences(newest.record.corpus, corpus_.identity()), "; ");
  const bool other_words = newest.record.vocab != tokenizer_->to_json();
  if (other_words) stored_tokenizer(newest.record, path);  // says where it is damaged
  if (!found.empty() && (!request_.allow_other_data || other_words))
    throw DataError("{}: the run was trained on another corpus than {}: {}. Put the corpus back, {}", path,
                    corpus_.file().string(), found,
                    other_words
                        ? "or train anew without --resume: this one has other symbols than the model's vocabulary"
                        : "train anew without --resume, or go on with this one all the same: --allow-data-mismatch");
  if (!found.empty()) earlier_data_ += fmt::format("until step {}: {}\n", newest.record.step, found);
  if (other_words) throw CheckpointError("{}: has another vocabulary than data.tokenizer gives", path);
}

void Run::resume_from(const Newest& newest) {
  const std::string path = newest.path.string();
  const SafetensorsFile& file = newest.file;
  load_parameters(file, path, model_->params());
  at_ = *newest.record.counters;
  // What one optimizer remembers is nothing to another: it begins as in a new run.
  const bool other_optimizer = newest.record.config.optim.type != config_.optim.type;
  if (other_optimizer)
    at_.optimizer_steps = 0;
  else
    load_moments(file, path, *optimizer_);
  origin_ = newest.record.origin;
  defaults_ = newest.record.defaults;
  optimizer_->set_steps(at_.optimizer_steps);
  tell_changes(newest.record.config);
  if (other_optimizer) note("warning: another optimizer from here on: it begins with nothing remembered");
  forget_other_best(newest.record);
  saved_step_ = at_.step;
  saved_best_ = at_.best_step;
  for (const auto& c : trainer_->carried()) {
    if (other_model_) break;  // states of another function: the rows start from nothing
    if (!load_tensor(file, path, c.name, c.value))
      throw CheckpointError("{}: lacks the carried state `{}`", path, c.name);
  }
  if (!request_.dry) {
    mark_best_again();
    journal_ = std::make_unique<Journal>(folder_.journal());
    journal_->resume(at_.step, newest.path.filename().string());
  }
  if (earlier_data_ != newest.record.earlier_data) {
    const std::string text =
        fmt::format("trained on other data from here on; {}", earlier_data_.substr(newest.record.earlier_data.size()));
    if (journal_) journal_->event(at_.step, "warning", text.substr(0, text.size() - 1), at_.seconds);
    say(text.substr(0, text.size() - 1));
  }
  std::error_code error;
  if (!std::filesystem::exists(folder_.journal(), error)) return;  // only where it is dry
  const JournalData rows = read_journal(folder_.journal());
  if (const JournalTable* t = rows.find(evaluation_kind(config_.eval.split))) journaled_step_ = t->step.back();
}

// A loss is the best only among those that were measured alike, on the same text.
void Run::forget_other_best(const RunRecord& then) {
  const auto how = [](const RunConfig& c) { return c.eval.split + ", " + describe(evaluation_of(c)); };
  const std::string before = how(then.config), after = how(config_);
  const bool other_data = earlier_data_ != then.earlier_data;
  if (other_model_ || other_data) {  // nor may evaluation and generation go on with weights of the run that was
    at_.row_loss_sum = at_.shown_loss = 0;
    at_.row_loss_count = 0;
    aside_ = at_.step;  // the best's own name, once there is a checkpoint of what the run is now
  }
  if (at_.best_step < 0 || (before == after && !other_data && !other_model_)) return;
  say(before == after
          ? fmt::format("evaluated from now on {}: the best loss starts anew",
                        other_model_ ? "as another model" : "on other data")
          : fmt::format("evaluated from now on by {} instead of {}: the best loss starts anew", after, before));
  at_.best_val = std::numeric_limits<double>::quiet_NaN();
  at_.best_step = -1;
  measured_anew_ = true;
}

// A kill may have come between the checkpoint and its mark.
void Run::mark_best_again() {
  const auto step_of = [](const std::filesystem::path& path) -> int64_t {
    try {
      const SafetensorsFile file(path);
      return Metadata(file, path.string()).integer("step");
    } catch (const Error&) {  // it is missing or damaged
      return -1;
    }
  };
  if (at_.best_step < 0 || step_of(folder_.best()) == at_.best_step) return;
  if (step_of(folder_.checkpoint(at_.best_step)) == at_.best_step) folder_.mark_best(at_.best_step);
}

}  // namespace effllm
