// What a run tells of itself while it trains: rows of the journal, evaluations, samples, the status line.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/text.h"
#include "decode/generator.h"
#include "train/run.h"

namespace effllm {

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
    journal_->event(
        at_.step, "info",
        fmt::format("{} loss {:.4f} nats/token by {}", config_.eval.split, loss, describe(evaluation_of(config_))),
        at_.seconds);
  const bool better = std::isfinite(loss) && !(loss >= at_.best_val);
  if (better) at_.best_val = loss, at_.best_step = at_.step;
  say(fmt::format("step {}  {} loss {:.4f} nats/token, {:.4f} {}{}", at_.step, config_.eval.split, loss, r.bits(),
                  measure_of(r.kind).unit,
                  guess_->worse(loss) ? fmt::format("  (above {}: worse than a guess)", guess_->text())
                  : better            ? "  (best)"
                                      : ""));
  last_eval_ = r;
}

// Every evaluation has the same targets: bits are the loss times what one had to the other.
std::string Run::best_bits() const {
  if (!last_eval_ || !std::isfinite(at_.best_val)) return "";
  const double nats = last_eval_->nats_per_token();  // 0 where the text holds no surprise; then so is the best
  return fmt::format("{:.4f} {}", nats > 0 ? at_.best_val * last_eval_->bits() / nats : 0,
                     measure_of(last_eval_->kind).unit);
}

void Run::sample_now() {
  if (config_.eval.sample_tokens == 0) return;
  GenerateOptions o;
  o.tokens = config_.eval.sample_tokens;
  o.sampler.temperature = config_.eval.temperature;
  o.sampler.seed = static_cast<uint64_t>(config_.train.seed);
  o.context = context_limit(*model_, trained_context(config_));
  const auto length = static_cast<int64_t>(prompt_tokens(*tokenizer_, config_.eval.prompt).size());
  if (!said_context_ && o.context.takes_effect(length, o.tokens))
    say(fmt::format("samples: {}, as in training", describe(o.context)));
  said_context_ = true;
  terminal_.phase(fmt::format("step {}  writing a sample of {}", at_.step, counted(o.tokens, "token")));
  const auto texts = generate(*model_, *tokenizer_, config_.eval.prompt, o);
  terminal_.clear();
  write_file_atomic(folder_.samples() / fmt::format("step_{:09}.txt", at_.step),
                    config_.eval.prompt + texts.front() + "\n");
}

std::string Run::status_text() const {
  const double done = progress(), rate = at_.seconds > 0 ? static_cast<double>(at_.tokens) / at_.seconds : 0;
  const double per_unit = train_text_.kind == TextKind::bytes ? tokens_per_byte_ : tokens_per_character_;
  const std::string eta =
      done > 0.005 && at_.seconds > 1 ? human_seconds(at_.seconds * (1 - done) / done) : "estimating";
  return fmt::format("step {}  epoch {:.2f}  {:3.0f}%  loss {:.3f} {}  {} tokens/s  ETA {}", at_.step, epochs(),
                     100 * std::min(done, 1.0), at_.shown_loss / std::numbers::ln2 * per_unit,
                     measure_of(train_text_.kind).unit, human_count(rate), eta);
}

}  // namespace effllm
