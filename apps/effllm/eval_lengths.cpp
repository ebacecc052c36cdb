#include "eval_lengths.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "eval/eval_plan.h"
#include "eval_positions.h"
#include "model/state_bytes.h"
#include "train/memory_refusal.h"

namespace effllm::app {
namespace {

const ContextBand* band(const TextLength& l, int64_t trained, bool beyond) {
  const auto found =
      std::ranges::find_if(l.result.by_context, [&](const ContextBand& b) { return (b.from > trained) == beyond; });
  return found == l.result.by_context.end() ? nullptr : &*found;
}

}  // namespace

std::vector<EvalOptions> with_lengths(const LoadedModel& m, const Objective& objective, const EvalTarget& target,
                                      const EvalOptions& o, const std::vector<int64_t>& lengths) {
  std::vector<EvalOptions> all;
  if (lengths.empty()) return all;
  if (!objective.scores_tokens())
    throw ConfigError(
        "--lengths: {} does not predict the tokens of a text one after the other; give one length by --tokens",
        m.config.objective.type.name());
  if (o.protocol.info().carried)
    throw ConfigError(
        "--lengths: with `carried` all of the text before is context, whatever the length of its chunks: choose "
        "--protocol windows or sliding");
  const auto tokens = static_cast<int64_t>(target.tokens.tokens.size());
  const int64_t inputs = scored_inputs(o, tokens - objective.scored_ahead()), trained = trained_context(m.config);
  for (const int64_t n : lengths) {
    if (n > inputs)
      throw ConfigError("--lengths {}: {} has {} to predict from{}", n, target.name, counted(inputs, "token"),
                        o.max_tokens ? " (--max-tokens)" : "");
    EvalOptions how = o;
    how.by_exit = false;
    how.tokens = n;
    how.batch = std::max<int64_t>(1, o.batch * o.tokens / n);  // as many tokens at once
    how.context_bands = {std::min(trained, n)};
    if (trained < n) how.context_bands.push_back(n);
    require_options(*m.model, objective, *m.tokenizer, how);
    require_evaluation(m.config, m.model->vocab(), how, tokens);
    all.push_back(std::move(how));
  }
  return all;
}

std::vector<TextLength> at_text_lengths(const LoadedModel& m, const Objective& objective, const EvalTarget& target,
                                        const std::vector<EvalOptions>& all,
                                        const std::function<void(const std::string&)>& show) {
  std::vector<TextLength> results;
  for (const EvalOptions& how : all) {
    const RowParts parts = m.model->config().parts_of(how.tokens);
    const StateBytes state = state_bytes(m.model->decoding_site(), parts.decoder, DType::f32, parts.encoder);
    results.push_back({.length = how.tokens,
                       .state_bytes = state.all,
                       .kv_bytes = state.rows,
                       .result = evaluate(*m.model, objective, target.tokens, *m.tokenizer, how, [&](double done) {
                         show(fmt::format("evaluating windows of {} {:3.0f}%", how.tokens, 100 * done));
                       })});
  }
  return results;
}

void add_text_lengths(nlohmann::json& j, const std::vector<TextLength>& all, int64_t trained) {
  j["lengths"] = nlohmann::json::array();
  for (const TextLength& l : all) {
    const EvalResult& r = l.result;
    const auto part = [&](bool beyond) {
      const ContextBand* b = band(l, trained, beyond);
      return b ? to_json(*b, r) : nlohmann::json();
    };
    nlohmann::json row = to_json(ContextBand{.tokens = r.tokens,
                                             .bytes = r.bytes,
                                             .characters = r.characters,
                                             .nats = r.nats,
                                             .stderr_nats = r.stderr_nats},
                                 r);
    row.update({{"length", l.length},
                {"state_bytes", l.state_bytes},
                {"kv_bytes", l.kv_bytes},
                {"within_training", part(false)},
                {"beyond_training", part(true)}});
    j["lengths"].push_back(std::move(row));
  }
}

void print_text_lengths(const std::vector<TextLength>& all, int64_t trained) {
  const std::string unit(measure_of(all.front().result.kind).unit);
  std::vector<std::vector<std::string>> rows = {
      {"length", "of training's", unit, "+-", "within", "beyond", "state", "KV rows"}};
  for (const TextLength& l : all) {
    const EvalResult& r = l.result;
    const auto part = [&](bool beyond) {
      const ContextBand* b = band(l, trained, beyond);
      return b && std::isfinite(bits_of(*b, r)) ? fmt::format("{:.4f}", bits_of(*b, r)) : "-";
    };
    const bool carried = trained == std::numeric_limits<int64_t>::max();
    rows.push_back(
        {fmt::format("{}", l.length),
         carried ? "-" : fmt::format("x {:.3g}", static_cast<double>(l.length) / static_cast<double>(trained)),
         fmt::format("{:.4f}", r.bits()),
         std::isfinite(r.stderr_nats) ? fmt::format("{:.4f}", r.stderr_nats / r.nats_per_token() * r.bits()) : "-",
         part(false), part(true), human_bytes(static_cast<double>(l.state_bytes)),
         human_bytes(static_cast<double>(l.kv_bytes))});
  }
  fmt::print("\n{}  within, beyond: {} after at most as many tokens as training gave, and after more\n", table(rows),
             unit);
}

}  // namespace effllm::app
