#include "train/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numbers>

#include "base/text.h"
#include "base/version.h"
#include "data/example_prompt.h"
#include "decode/generator.h"
#include "io/checkpoint.h"
#include "kernels/parallel.h"
#include "model/describe.h"
#include "model/old_defaults.h"
#include "train/preflight.h"
#include "train/signals.h"

namespace effllm {
namespace {

constexpr int64_t kSkipsInRow = 3;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool due(int64_t step, int64_t every) { return every > 0 && step % every == 0; }

}  // namespace

Run::Run(RunRequest request)
    : request_(std::move(request)), config_(request_.config), folder_(""), terminal_(request_.quiet), lapped_(now()) {
  terminal_.phase("reading the corpus, building the model");
  Preflight ready = preflight(config_);
  corpus_ = std::move(ready.corpus);
  tokenizer_ = std::move(ready.tokenizer);
  train_text_ = std::move(ready.train);
  val_text_ = std::move(ready.val);
  int64_t characters = 0;
  for (const int32_t id : train_text_.tokens) characters += tokenizer_->characters_of(id);
  const auto tokens = static_cast<double>(train_text_.tokens.size());
  tokens_per_character_ = tokens / static_cast<double>(std::max<int64_t>(1, characters));
  tokens_per_byte_ = tokens / static_cast<double>(train_text_.bytes);
  // What a new run can't start with is refused before it has a folder.
  std::optional<Newest> other = request_.resume ? std::nullopt : open_other();
  folder_ = RunFolder::create(request_.runs, config_.name, !request_.resume);
  lock_ = std::make_unique<FileLock>(folder_.path());
  folder_.sweep();
  log_ = std::make_unique<AppendFile>(folder_.log());
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
  model_->params().materialize(static_cast<uint64_t>(config_.train.seed), DType::f32);
  const auto train_tokens = static_cast<int64_t>(train_text_.tokens.size());
  optimizer_ = std::make_unique<AdamW>(config_.optim, config_.groups, model_->params());
  trainer_ = std::make_unique<Trainer>(*model_, *optimizer_, plan_shards(config_.train, *model_),
                                       StepOptions{.seed = static_cast<uint64_t>(config_.train.seed),
                                                   .clip = config_.optim.clip,
                                                   .carry_state = config_.train.carry_state,
                                                   .carried_tokens = carried_tokens(config_, train_tokens)});
  if (config_.train.carry_state) trainer_->prepare_carried(config_.train.batch);
  config_.train.lanes =
      static_cast<int64_t>(trainer_->plan().lanes.size());  // what was chosen stands in the resolved file
  guess_.emplace(tokenizer_->vocab_size(), config_.schedule.warmup);
  flops_per_token_ = train_flops_per_token(config_.model, tokenizer_->vocab_size(), config_.train.context);
  if (const auto note = beyond_training(*model_, trained_context(config_), evaluation_of(config_)); !note.empty())
    say("evaluation: " + note);
  if (newest) resume_from(*newest);
  if (other) start_from(*other);
  write_start_files();
}

Run::~Run() = default;

void Run::lap(double& account) {
  const double time = now();
  account += time - std::exchange(lapped_, time);
}

double Run::epochs() const { return order_->epochs(at_.samples); }

Spent Run::spent() const { return {at_.step, at_.tokens, epochs(), at_.flops, at_.seconds}; }
double Run::progress() const { return config_.progress(spent()); }

void Run::say(const std::string& line) {
  terminal_.print(line);
  if (log_) log_->append(utc_now() + "  " + line);
}

std::string Run::status_text() const {
  const double done = progress(), rate = at_.seconds > 0 ? static_cast<double>(at_.tokens) / at_.seconds : 0;
  const double per_unit = train_text_.kind == TextKind::bytes ? tokens_per_byte_ : tokens_per_character_;
  const std::string eta =
      done > 0.005 && at_.seconds > 1 ? human_seconds(at_.seconds * (1 - done) / done) : "estimating";
  return fmt::format("step {}  epoch {:.2f}  {:3.0f}%  loss {:.3f}  {:.3f} {}  {} tokens/s  ETA {}", at_.step, epochs(),
                     100 * std::min(done, 1.0), at_.shown_loss, at_.shown_loss / std::numbers::ln2 * per_unit,
                     measure_of(train_text_.kind).unit, human_count(rate), eta);
}

bool Run::step_once() {
  lap(at_.other_seconds);
  const double before = at_.seconds;
  const Batch batch = order_->at(at_.samples);
  if (config_.train.carry_state && at_.samples > 0 && !order_->continues(at_.samples)) trainer_->forget();
  const double factor = schedule_factor(config_.schedule, at_.step, progress());
  const StepResult r = trainer_->step(batch, at_.step, factor);
  ++at_.step;
  at_.tokens += r.tokens;
  at_.samples += batch.batch;
  at_.flops += flops_per_token_ * static_cast<double>(r.tokens);
  lap(at_.seconds);
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
  ++at_.skipped_in_row;
  std::string where = "every value is finite when the step is run again; its sum was not";
  try {
    trainer_->find_nonfinite(batch, at_.step - 1);
  } catch (const NumericalError& e) {
    where = e.what();
  }
  journal_->event(at_.step - 1, "warning", fmt::format("step left out: {}", where), at_.seconds);
  say(fmt::format("step {} is not finite and was left out: {}", at_.step - 1, where));
  if (config_.train.nonfinite == "abort" || at_.skipped_in_row > kSkipsInRow)
    throw NumericalError(
        "training stopped at step {}, after {} steps in a row that were not finite: {}. Lower optim.lr, or look at {}",
        at_.step - 1, at_.skipped_in_row, where, folder_.log().string());
  return false;
}

void Run::log_row() {
  if (at_.row_loss_count == 0) return;
  lap(at_.other_seconds);
  const double loss = at_.row_loss_sum / static_cast<double>(at_.row_loss_count);
  std::vector<std::pair<std::string, double>> row = {
      {"loss", loss},
      {"bpc", loss / std::numbers::ln2 * tokens_per_character_},
      {"bpb", loss / std::numbers::ln2 * tokens_per_byte_},
      {"lr", last_lr_},
      {"grad_norm", last_norm_},
      {"tokens", static_cast<double>(at_.tokens)},
      {"epoch", epochs()},
      {"flops", at_.flops},
      {"wall_s", at_.seconds},
      {"save_s", at_.save_seconds},
      {"other_s", at_.other_seconds},
      {"tok_per_s", row_seconds_ > 0 ? static_cast<double>(row_tokens_) / row_seconds_ : 0},
  };
  if (train_text_.kind == TextKind::bytes) row.erase(row.begin() + 1);
  journal_->row("train", at_.step, row);
  at_.row_loss_sum = row_seconds_ = 0;
  at_.row_loss_count = row_tokens_ = 0;
}

void Run::evaluate_now() {
  if (evaluated_step_ == at_.step) return;
  evaluated_step_ = at_.step;
  terminal_.phase(fmt::format("step {}  evaluating on the {} split", at_.step, config_.eval.split));
  const EvalResult r = evaluate(*model_, val_text_, *tokenizer_, evaluation_of(config_), [&](double done) {
    terminal_.update(fmt::format("step {}  evaluating on {} {:3.0f}%", at_.step, config_.eval.split, 100 * done));
  });
  const double loss = r.nats_per_token();
  lap(at_.other_seconds);
  std::vector<std::pair<std::string, double>> row = {{"loss", loss},
                                                     {"bpc", r.bits_per_char()},
                                                     {"bpb", r.bits_per_byte()},
                                                     {"ppl", r.perplexity()},
                                                     {"stderr", r.stderr_nats},
                                                     {"scored_tokens", static_cast<double>(r.tokens)},
                                                     {"tokens", static_cast<double>(at_.tokens)},
                                                     {"wall_s", at_.seconds},
                                                     {"save_s", at_.save_seconds},
                                                     {"other_s", at_.other_seconds}};
  if (r.kind == TextKind::bytes) row.erase(row.begin() + 1);
  if (at_.step > journaled_step_)
    journal_->row(evaluation_kind(config_.eval.split), at_.step, row);
  else if (measured_anew_)  // the journal has a row of this step already
    journal_->event(at_.step, "info",
                    fmt::format("{} loss {:.4f} by {}", config_.eval.split, loss, describe(evaluation_of(config_))),
                    at_.seconds);
  const bool better = std::isfinite(loss) && !(loss >= at_.best_val);
  if (better) at_.best_val = loss, at_.best_step = at_.step;
  say(fmt::format("step {}  {} loss {:.4f}  {:.4f} {}{}", at_.step, config_.eval.split, loss, r.bits(),
                  measure_of(r.kind).unit,
                  guess_->worse(loss) ? fmt::format("  (above {}: worse than a guess)", guess_->text())
                  : better            ? "  (best)"
                                      : ""));
  last_eval_ = r;
}

void Run::sample_now() {
  GenerateOptions o;
  o.tokens = config_.eval.sample_tokens;
  o.sampler.temperature = config_.eval.temperature;
  o.sampler.seed = static_cast<uint64_t>(config_.train.seed);
  o.context = context_limit(*model_, trained_context(config_));
  const auto length = static_cast<int64_t>(prompt_tokens(*tokenizer_, config_.eval.prompt).size());
  if (!said_context_ && o.context.takes_effect(length, o.tokens))
    say(fmt::format("samples: {}, as in training", describe(o.context)));
  said_context_ = true;
  terminal_.phase(fmt::format("step {}  writing a sample of {} tokens", at_.step, o.tokens));
  const auto texts = generate(*model_, *tokenizer_, config_.eval.prompt, o);
  terminal_.clear();
  write_file_atomic(folder_.samples() / fmt::format("step_{:09}.txt", at_.step),
                    config_.eval.prompt + texts.front() + "\n");
}

RunOutcome Run::train() {
  say(fmt::format("{}: {} parameters, {} of {} training tokens a step, {} thread{}; {}", folder_.path().string(),
                  human_count(static_cast<double>(model_->params().count())),
                  human_count(static_cast<double>(config_.train.batch * config_.train.context)),
                  human_count(static_cast<double>(train_text_.tokens.size())), threads(), threads() == 1 ? "" : "s",
                  at_.step ? fmt::format("going on from step {}", at_.step) : "starting"));
  if (at_.step > 0 && progress() >= 1)
    say(
        fmt::format("nothing to train: step {} is at the run's horizon or beyond it; to go on, raise the max_ key of "
                    "train",
                    at_.step));
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
          .last_eval = last_eval_,
          .prompt = example_prompt(corpus_.text(Split::train))};
}

void Run::run_steps() {
  saved_at_ = now();
  while (!(interrupted_ = Signals::stop_requested()) && progress() < 1) {
    step_once();
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
        config_.train.save_seconds > 0 && now() - saved_at_ > static_cast<double>(config_.train.save_seconds);
    const bool requested = Signals::checkpoint_requested();
    if (evaluates || overdue || due(at_.step, config_.train.save_every) || requested) {
      save();
      if (requested) write_metrics("running");  // whoever asks for a checkpoint wants to look
      saved_at_ = now();
    }
  }
}

// The weights are safe before anything else can fail. The row that a signal cuts short is not written: its sums are in
// the checkpoint, and the run that goes on from there writes it whole.
void Run::finish() {
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
