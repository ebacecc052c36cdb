#include "train/evaluations.h"

#include <fmt/format.h>

#include <cmath>

namespace effllm {

void Evaluations::resumed(int64_t journaled, bool anew) {
  journaled_ = journaled;
  anew_ = anew;
}

void Evaluations::evaluate() {
  RunCounters& at = run_.at;
  const Experiment& x = run_.x;
  if (evaluated_ == at.step) return;
  evaluated_ = at.step;
  const std::string& split = x.config.eval.split;
  run_.log.terminal.phase(fmt::format("step {}  evaluating on the {} split", at.step, split));
  const ShownWeights shown(*x.optimizer);
  const EvalResult r =
      effllm::evaluate(*x.model, *x.objective, x.val, *x.tokenizer, evaluation_of(x.config), [&](double done) {
        run_.log.terminal.update(fmt::format("step {}  evaluating on {} {:3.0f}%", at.step, split, 100 * done));
      });
  run_.clock.lap(at.other_seconds);
  record(r);
  const double loss = r.nats_per_token();
  const bool better = std::isfinite(loss) && !(loss >= at.best_val);
  if (better) at.best_val = loss, at.best_step = at.step;
  const std::string beside =
      r.kind == TextKind::symbols
          ? fmt::format("accuracy {:.4f}, of samples {:.4f}", r.answers.accuracy(), r.answers.sample_accuracy())
          : fmt::format("{:.4f} {}", r.bits(), measure_of(r.kind).unit);
  run_.log.say(fmt::format("step {}  {} loss {}{:.4f} nats/token, {}{}", at.step, split, r.bound ? "<= " : "", loss,
                           beside,
                           guess_.worse(loss) ? fmt::format("  (above {}: worse than a guess)", guess_.text())
                           : better           ? "  (best)"
                                              : ""));
  last_ = r;
}

std::vector<Measured> Evaluations::row(const EvalResult& r) const {
  const RunCounters& at = run_.at;
  std::vector<Measured> row = r.measured();
  row.insert(row.end(), {kTrainedTokens(static_cast<double>(at.tokens)), kTrainSeconds(at.seconds),
                         kSaveSeconds(at.save_seconds), kOtherSeconds(at.other_seconds)});
  return row;
}

void Evaluations::record(const EvalResult& r) {
  const RunCounters& at = run_.at;
  const RunConfig& config = run_.x.config;
  Journal& journal = *run_.log.journal;
  if (at.step > journaled_)
    journal.row(evaluation_kind(config.eval.split), at.step, row(r));
  else if (anew_)  // the journal has a row of this step already
    journal.event(at.step, "info",
                  fmt::format("{} loss {:.4f} nats/token by {}", config.eval.split, r.nats_per_token(),
                              describe(evaluation_of(config))),
                  at.seconds);
}

// Every evaluation has the same targets: bits are the loss times what one had to the other.
std::string Evaluations::best_bits() const {
  if (!last_ || !std::isfinite(run_.at.best_val)) return "";
  const double nats = last_->nats_per_token();  // 0 where the text holds no surprise; then so is the best
  return fmt::format("{:.4f} {}", nats > 0 ? run_.at.best_val * last_->bits() / nats : 0, measure_of(last_->kind).unit);
}

}  // namespace effllm
