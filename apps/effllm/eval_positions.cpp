#include "eval_positions.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "base/text.h"

namespace effllm::app {
namespace {

double per(double nats, int64_t units) { return nats / std::numbers::ln2 / static_cast<double>(units); }
nlohmann::json per_or_null(double nats, int64_t units) {
  return units ? nlohmann::json(per(nats, units)) : nlohmann::json();
}

}  // namespace

nlohmann::json to_json(const ContextBand& b, const EvalResult& r) {
  nlohmann::json j = {{"tokens", b.tokens},
                      {"nats_per_token", b.nats_per_token()},
                      {"stderr_nats", std::isfinite(b.stderr_nats) ? nlohmann::json(b.stderr_nats) : nlohmann::json()},
                      {"bits_per_token", per(b.nats, b.tokens)}};
  if (r.kind == TextKind::symbols) return j;
  j.update({{"bytes", b.bytes},
            {"characters", r.characters ? nlohmann::json(b.characters) : nlohmann::json()},
            {"bits_per_char", r.characters ? per_or_null(b.nats, b.characters) : nlohmann::json()},
            {"bits_per_byte", per_or_null(b.nats, b.bytes)}});
  return j;
}

double bits_of(const ContextBand& b, const EvalResult& r) {
  return per(b.nats, r.kind == TextKind::symbols ? b.tokens : r.characters ? b.characters : b.bytes);
}

void add_positions(nlohmann::json& j, const EvalResult& r) {
  j["by_position"] = nlohmann::json::array();
  for (const ContextBand& b : r.by_context) {
    j["by_position"].push_back(to_json(b, r));
    j["by_position"].back().update({{"from", b.from}, {"to", b.to}});
  }
}

void print_positions(const EvalResult& r, int64_t trained) {
  const Measure measure = measure_of(r.kind);
  std::vector<std::vector<std::string>> rows = {
      {"tokens before", "scored", "nats/token", "+-", std::string(measure.unit)}};
  for (const ContextBand& b : r.by_context) {
    const double bits = bits_of(b, r);
    rows.push_back(
        {fmt::format("{}{}", b.from == b.to ? fmt::format("{}", b.from) : fmt::format("{} to {}", b.from, b.to),
                     b.from > trained ? " *" : ""),
         fmt::format("{}", b.tokens), fmt::format("{:.4f}", b.nats_per_token()),
         std::isfinite(b.stderr_nats) ? fmt::format("{:.4f}", b.stderr_nats) : "-",
         std::isfinite(bits) ? fmt::format("{:.4f}", bits) : "-"});
  }
  fmt::print("\n{}", table(rows));
  if (!r.by_context.empty() && r.by_context.back().from > trained)
    fmt::print("  * more than the {} of training\n", counted(trained, "token"));
}

}  // namespace effllm::app
