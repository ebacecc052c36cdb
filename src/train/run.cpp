#include "train/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/clock.h"
#include "base/out_of_memory.h"
#include "base/text.h"
#include "base/version.h"
#include "data/example_prompt.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "train/preflight.h"

namespace effllm {

Run::Run(RunRequest request)
    : request_(std::move(request)),
      config_(request_.config),
      folder_(""),
      terminal_(request_.quiet),
      patience_(request_.patience),
      lapped_(seconds_now()) {
  const Activity activity("reading the corpus and building the model", "choose a smaller corpus or model.d_model");
  terminal_.phase("reading the corpus, building the model");
  Preflight ready = preflight(config_);
  corpus_ = std::move(ready.corpus);
  tokenizer_ = std::move(ready.tokenizer);
  train_text_ = std::move(ready.train);
  val_text_ = std::move(ready.val);
  memory_ = ready.plan;
  int64_t characters = 0;
  for (const int32_t id : train_text_.tokens) characters += tokenizer_->characters_of(id);
  const auto tokens = static_cast<double>(train_text_.tokens.size());
  tokens_per_character_ = tokens / static_cast<double>(std::max<int64_t>(1, characters));
  tokens_per_byte_ = tokens / static_cast<double>(train_text_.bytes);
  // What a new run can't start with is refused before it has a folder.
  std::optional<Newest> other = request_.resume ? std::nullopt : open_other();
  take_folder();
  if (const auto wanted = request_.runs / config_.name; folder_.path() != wanted)
    say(fmt::format("{} exists; writing to {}", wanted.string(), folder_.path().string()));
  for (const Doubt& d : ready.doubts) request_.notes.push_back("warning: " + d.message);
  if (!ready.note.empty()) request_.notes.push_back(ready.note);
  if (config_.data.reset == "document" && train_text_.document_starts.size() == 1)
    request_.notes.push_back(
        fmt::format("data.reset: document changes nothing: the training split is one document ({})",
                    corpus_.manifest().document_separator.empty() ? "the corpus has no separator"
                                                                  : "its separator does not occur"));
  for (const std::string& note : request_.notes) say(note);
  const std::optional<Newest> newest = request_.resume ? open_newest() : std::nullopt;
  if (request_.resume && !newest) other = open_other();
  at_.first_batch = newest ? newest->record.counters->first_batch : config_.train.batch;
  order_ = build_order(config_.data.order, train_text_, {config_.train.batch, config_.train.context, at_.first_batch},
                       static_cast<uint64_t>(config_.data.seed), config_.data.reset == "document");
  model_ = std::make_unique<LanguageModel>(config_.model, tokenizer_->vocab_size());
  if (!request_.dry || newest) build_trainer();
  if (!trainer_) model_->params().as_meta(DType::f32);
  const ShardPlan plan = trainer_ ? trainer_->plan() : plan_shards(config_.train, *model_);
  config_.train.lanes = static_cast<int64_t>(plan.lanes.size());  // what was chosen stands in the resolved file
  guess_.emplace(tokenizer_->vocab_size(), config_.schedule.warmup);
  // Of the model: how it is computed (train.recompute) moves neither horizon nor schedule.
  flops_per_token_ = train_flops_per_token(config_.model, tokenizer_->vocab_size(), config_.train.context);
  if (const auto note = beyond_training(*model_, trained_context(config_), evaluation_of(config_)); !note.empty())
    say("evaluation: " + note);
  if (newest) resume_from(*newest);
  if (other) start_from(*other);
  if (!request_.dry) write_start_files();
}

Run::~Run() = default;

void Run::take_folder() {
  if (request_.dry) {
    folder_ = RunFolder::choose(request_.runs, config_.name, !request_.resume);
    require_unlocked(folder_.path());
    return;
  }
  folder_ = RunFolder::create(request_.runs, config_.name, !request_.resume);
  lock_ = std::make_unique<FileLock>(folder_.path());
  folder_.sweep();
  log_ = std::make_unique<AppendFile>(folder_.log());
}

void Run::build_trainer() {
  model_->params().materialize(static_cast<uint64_t>(config_.train.seed), DType::f32);
  const auto train_tokens = static_cast<int64_t>(train_text_.tokens.size());
  optimizer_ = build_optimizer(config_.optim, config_.groups, model_->params());
  trainer_ = std::make_unique<Trainer>(*model_, *optimizer_, plan_shards(config_.train, *model_),
                                       StepOptions{.seed = static_cast<uint64_t>(config_.train.seed),
                                                   .clip = config_.optim.clip,
                                                   .carry_state = config_.train.carry_state,
                                                   .recompute = config_.train.recomputes(),
                                                   .carried_tokens = carried_tokens(config_, train_tokens)});
  if (config_.train.carry_state) trainer_->prepare_carried(config_.train.batch);
}

void Run::lap(double& account) {
  const double time = seconds_now();
  account += time - std::exchange(lapped_, time);
}

double Run::epochs() const { return order_->epochs(at_.samples); }

Spent Run::spent() const { return {at_.step, at_.tokens, epochs(), at_.flops, at_.seconds}; }
double Run::progress() const { return config_.progress(spent()); }

void Run::say(const std::string& line) {
  terminal_.print(line);
  if (log_) log_->append(utc_now() + "  " + line);
}

void Run::announce() {
  say(fmt::format("{}: {}, {} of {} a step, {}; {}", folder_.path().string(),
                  human_counted(static_cast<double>(model_->params().count()), "parameter"),
                  human_count(static_cast<double>(config_.train.batch * config_.train.context)),
                  human_counted(static_cast<double>(train_text_.tokens.size()), "training token"),
                  counted(threads(), "thread"),
                  at_.step ? fmt::format("going on from step {}", at_.step) : "starting"));
  if (at_.step > 0 && progress() >= 1)
    say(
        fmt::format("nothing to train: step {} is at the run's horizon or beyond it; to go on, raise the max_ key of "
                    "train",
                    at_.step));
}

RunOutcome Run::train() {
  announce();
  try {
    run_steps();
    finish();
  } catch (...) {
    terminal_.clear();
    try {
      write_status("failed");
      write_metrics("failed");
    } catch (const std::exception&) {  // the first error is the one to report
    }
    throw;
  }
  return {.folder = folder_.path(),
          .steps = at_.step,
          .tokens = at_.tokens,
          .seconds = at_.seconds,
          .save_seconds = at_.save_seconds,
          .other_seconds = at_.other_seconds,
          .interrupted = interrupted_,
          .best_val = at_.best_val,
          .best_bits = best_bits(),
          .prompt = example_prompt(corpus_.text(Split::train)),
          .next_split = corpus_.text(Split::test).empty() ? config_.eval.split : "test"};
}

// The weights are safe before anything else can fail. The row that a signal cuts short is not written: its sums are in
// the checkpoint, and the run that goes on from there writes it whole.
void Run::finish() {
  const Activity activity("writing what the run found", "end other programs");
  terminal_.clear();
  if (!interrupted_) log_row();
  save();
  if (!interrupted_) {
    evaluate_now();
    save();  // anew only where this evaluation is the best
    sample_now();
  }
  journal_->sync();
  lap(at_.other_seconds);
  const char* status = interrupted_ ? "interrupted" : "done";
  write_metrics(status);
  write_status(status);
  if (interrupted_) say(fmt::format("stopped at step {} with a checkpoint; go on with --resume auto", at_.step));
}

}  // namespace effllm
