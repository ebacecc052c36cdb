#include "eval_positions.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "base/text.h"

namespace effllm::app {
namespace {

// Bits of a token, character or byte, whatever there are so many of.
double bits_of(double nats, int64_t units) { return nats / std::numbers::ln2 / static_cast<double>(units); }
nlohmann::json bits_or_null(double nats, int64_t units) {
  return units ? nlohmann::json(bits_of(nats, units)) : nlohmann::json();
}

}  // namespace

void add_positions(nlohmann::json& j, const EvalResult& r) {
  j["by_position"] = nlohmann::json::array();
  for (const ContextBand& b : r.by_context) {
    nlohmann::json row = {
        {"from", b.from},
        {"to", b.to},
        {"tokens", b.tokens},
        {"nats_per_token", b.nats_per_token()},
        {"stderr_nats", std::isfinite(b.stderr_nats) ? nlohmann::json(b.stderr_nats) : nlohmann::json()},
        {"bits_per_token", bits_of(b.nats, b.tokens)}};
    if (r.kind != TextKind::symbols)
      row.update({{"bytes", b.bytes},
                  {"characters", r.characters ? nlohmann::json(b.characters) : nlohmann::json()},
                  {"bits_per_char", r.characters ? bits_or_null(b.nats, b.characters) : nlohmann::json()},
                  {"bits_per_byte", bits_or_null(b.nats, b.bytes)}});
    j["by_position"].push_back(std::move(row));
  }
}

void print_positions(const EvalResult& r, int64_t trained) {
  const Measure measure = measure_of(r.kind);
  std::vector<std::vector<std::string>> rows = {
      {"tokens before", "scored", "nats/token", "+-", std::string(measure.unit)}};
  for (const ContextBand& b : r.by_context) {
    const int64_t units = r.kind == TextKind::symbols ? b.tokens : r.characters ? b.characters : b.bytes;
    rows.push_back(
        {fmt::format("{}{}", b.from == b.to ? fmt::format("{}", b.from) : fmt::format("{} to {}", b.from, b.to),
                     b.from > trained ? " *" : ""),
         fmt::format("{}", b.tokens), fmt::format("{:.4f}", b.nats_per_token()),
         std::isfinite(b.stderr_nats) ? fmt::format("{:.4f}", b.stderr_nats) : "-",
         units ? fmt::format("{:.4f}", bits_of(b.nats, units)) : "-"});
  }
  fmt::print("\n{}", table(rows));
  if (!r.by_context.empty() && r.by_context.back().from > trained)
    fmt::print("  * more than the {} of training\n", counted(trained, "token"));
}

}  // namespace effllm::app
