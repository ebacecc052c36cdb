#include <fmt/format.h>

#include <functional>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands.h"
#include "eval/evaluator.h"
#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "train/run_config.h"

namespace effllm::app {
namespace {

using Rows = std::vector<std::vector<std::string>>;

Rows mechanisms(std::span<const MixerInfo* const> all) {
  Rows rows = {{"name", "title", "family", "recurrence", "paper"}};
  for (const MixerInfo* m : all)
    rows.push_back({std::string(m->name), std::string(m->title), std::string(m->family), std::string(m->recurrence),
                    std::string(m->paper)});
  return rows;
}

void print_details(std::span<const MixerInfo* const> all) {
  for (const MixerInfo* m : all) {
    fmt::print("{}: {} ({})\n", m->name, m->title, m->paper);
    if (!m->deviations.empty()) fmt::print("  deviations: {}\n", m->deviations);
    if (!m->waivers.split.empty()) fmt::print("  waiver, cuts: {}\n", m->waivers.split);
    if (!m->waivers.causal.empty()) fmt::print("  waiver, causality: {}\n", m->waivers.causal);
    Rows rows = {{"  option", "type", "default", "range", "meaning"}};
    const auto options = m->options();
    for (const OptionInfo& o : describe(*options)) rows.push_back({"  " + o.name, o.type, o.value, o.limits, o.help});
    fmt::print("{}\n", table(rows));
  }
}

template <class Info>
Rows names(std::span<const Info> all) {
  Rows rows = {{"name", "what"}};
  for (const Info& i : all) rows.push_back({std::string(i.name), std::string(i.summary)});
  return rows;
}

struct Kind {
  std::string_view name, summary;
  std::function<Rows()> rows;
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"mixers", "sequence mixers (model.layers[].mixer)", [] { return mechanisms(all_mixers()); }},
      {"ffns", "channel mixers (model.layers[].ffn)", [] { return mechanisms(all_ffns()); }},
      {"objectives", "what is optimised (objective.type)", [] { return names(all_objectives()); }},
      {"optimizers", "optim.type", [] { return names(all_optimizers()); }},
      {"schedules", "learning-rate schedules (optim.schedule.type)", [] { return names(all_schedules()); }},
      {"orders", "which tokens a step sees (data.order)", [] { return names(all_orders()); }},
      {"tokenizers", "data.tokenizer", [] { return names(all_tokenizers()); }},
      {"protocols", "how a split is evaluated (eval.protocol)", [] { return names(all_protocols()); }},
  };
  return all;
}

}  // namespace

ExitCode list(const Common& common, const ListArgs& args) {
  if (args.kind.empty()) {
    Rows rows = {{"effllm list ...", "what"}};
    for (const Kind& k : kinds()) rows.push_back({std::string(k.name), std::string(k.summary)});
    fmt::print("{}", table(rows));
    return ExitCode::ok;
  }
  std::vector<std::string_view> known;
  for (const Kind& k : kinds()) {
    known.push_back(k.name);
    if (k.name != args.kind) continue;
    const Rows rows = k.rows();
    if (common.json) {
      nlohmann::json j = nlohmann::json::array();
      for (size_t r = 1; r < rows.size(); ++r) {
        nlohmann::json o;
        for (size_t c = 0; c < rows[0].size(); ++c) o[rows[0][c]] = rows[r][c];
        j.push_back(std::move(o));
      }
      fmt::print("{}\n", j.dump());
    } else if (args.details && (args.kind == "mixers" || args.kind == "ffns")) {
      print_details(args.kind == "mixers" ? all_mixers() : all_ffns());
    } else {
      fmt::print("{}", args.markdown ? markdown_table(rows) : table(rows));
    }
    return ExitCode::ok;
  }
  throw ConfigError("there is no list of `{}`.{} `effllm list` shows what can be listed", args.kind,
                    did_you_mean(args.kind, known));
}

}  // namespace effllm::app
