#include "train/progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <numbers>

#include "base/text.h"

namespace effllm {

std::string ProgressLine::text(const StepResult& step) const {
  const RunCounters& at = run_.at;
  const TextKind kind = run_.x.train.kind;
  const double done = run_.progress(), rate = at.seconds > 0 ? static_cast<double>(at.tokens) / at.seconds : 0;
  const double per_unit = kind == TextKind::bytes ? run_.x.tokens_per_byte : run_.x.tokens_per_character;
  const std::string eta = done > 0.005 && at.seconds > 1 ? human_seconds(at.seconds * (1 - done) / done) : "estimating";
  std::string beside;
  for (const Measured& m : step.rows) beside += fmt::format("  {} {:.3g}", m.name, m.value);
  return fmt::format("step {}  epoch {:.2f}  {:3.0f}%  loss {:.3f} {}{}  {} tokens/s  ETA {}", at.step, run_.epochs(),
                     100 * std::min(done, 1.0), at.shown_loss / std::numbers::ln2 * per_unit, measure_of(kind).unit,
                     beside, human_count(rate), eta);
}

}  // namespace effllm
