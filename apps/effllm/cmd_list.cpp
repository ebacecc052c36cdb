#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "commands.h"
#include "eval/evaluator.h"
#include "ffn/ffn.h"
#include "json_output.h"
#include "mixers/mixer.h"
#include "train/run_config.h"

namespace effllm::app {
namespace {

using Rows = std::vector<std::vector<std::string>>;
using Mechanisms = std::span<const MixerInfo* const>;

Rows mechanisms(Mechanisms all) {
  Rows rows = {{"name", "title", "family", "recurrence", "paper"}};
  for (const MixerInfo* m : all)
    rows.push_back({std::string(m->name), std::string(m->title), std::string(m->family), std::string(m->recurrence),
                    std::string(m->paper)});
  return rows;
}

// The fields of a state at width 256 with the default options, "s [4, 32, 64]"; those that grow say so.
std::string state_of(const MixerInfo& m, bool channel_mixer) {
  constexpr int64_t kWidth = 256;
  ParamStore store;
  ConfigNode node = ConfigNode::map();
  node.set("type", m.name);
  const MixerArgs args{.d_model = kWidth, .layer = 0, .layers = 1, .max_tokens = 256};
  const auto built = channel_mixer ? build_ffn(node, args, Scope(store)) : build_mixer(node, args, Scope(store));
  std::string all;
  const StateSpec one = built->state_spec(1), two = built->state_spec(2);
  for (size_t i = 0; i < one.fields.size(); ++i) {
    const StateField& f = one.fields[i];
    const bool grows = two.fields[i].shape != f.shape || f.growth == Growth::per_token;
    all += fmt::format("{}{} {}{}", all.empty() ? "" : ", ", f.name, f.shape.str(),
                       grows                      ? " a token"
                       : f.growth == Growth::ring ? " (ring)"
                                                  : "");
  }
  return all.empty() ? "none" : all;
}

void print_details(Mechanisms all, bool markdown, bool channel_mixers) {
  for (const MixerInfo* m : all) {
    const auto line = [&](std::string_view what, std::string_view text) {
      if (!text.empty()) fmt::print("{}{}: {}\n", markdown ? "- " : "  ", what, text);
    };
    fmt::print("{}{}: {} ({})\n", markdown ? "### " : "", m->name, m->title, m->paper);
    line("family", m->family);
    line("recurrence", m->recurrence);
    line("state at width 256", state_of(*m, channel_mixers));
    line("source", m->source);
    line("unseen past the context of training", m->unseen.empty() ? "nothing" : m->unseen);
    line("deviations", m->deviations);
    line("waiver, cuts", m->waivers.split);
    line("waiver, causality", m->waivers.causal);
    if (markdown) fmt::print("\n");  // ends the list
    const std::string indent = markdown ? "" : "  ";
    Rows rows = {{indent + "option", "type", "default", "range", "meaning"}};
    const auto options = m->options();
    for (const OptionInfo& o : describe(*options)) rows.push_back({indent + o.name, o.type, o.value, o.limits, o.help});
    fmt::print("{}\n", markdown ? markdown_table(rows) : table(rows));
  }
}

nlohmann::json details(const MixerInfo& m, bool channel_mixer) {
  nlohmann::json j = {{"state_at_width_256", state_of(m, channel_mixer)},
                      {"source", m.source},
                      {"unseen_past_training_context", m.unseen},
                      {"deviations", m.deviations},
                      {"waivers", {{"cuts", m.waivers.split}, {"causality", m.waivers.causal}}},
                      {"options", nlohmann::json::array()}};
  const auto options = m.options();
  for (const OptionInfo& o : describe(*options))
    j["options"].push_back(
        {{"name", o.name}, {"type", o.type}, {"default", o.value}, {"range", o.limits}, {"meaning", o.help}});
  return j;
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
  Mechanisms (*mechanisms)() = nullptr;  // of kinds whose members have options
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"mixers", "sequence mixers (model.layers[].mixer)", [] { return mechanisms(all_mixers()); }, all_mixers},
      {"ffns", "channel mixers (model.layers[].ffn)", [] { return mechanisms(all_ffns()); }, all_ffns},
      {"objectives", "what is optimised (objective.type)", [] { return names(all_objectives()); }},
      {"optimizers", "optim.type", [] { return names(all_optimizers()); }},
      {"schedules", "learning-rate schedules (optim.schedule.type)", [] { return names(all_schedules()); }},
      {"orders", "which tokens a step sees (data.order)", [] { return names(all_orders()); }},
      {"tokenizers", "data.tokenizer", [] { return names(all_tokenizers()); }},
      {"protocols", "how a split is evaluated (eval.protocol)", [] { return names(all_protocols()); }},
  };
  return all;
}

void print_json(const Rows& rows, Mechanisms detailed, bool channel_mixers) {
  nlohmann::json j = nlohmann::json::array();
  for (size_t r = 1; r < rows.size(); ++r) {
    nlohmann::json o;
    for (size_t c = 0; c < rows[0].size(); ++c) o[rows[0][c]] = rows[r][c];
    if (!detailed.empty()) o.update(details(*detailed[r - 1], channel_mixers));
    j.push_back(std::move(o));
  }
  app::print_json(j);
}

}  // namespace

ExitCode list(const Common& common, const ListArgs& args) {
  Rows rows = {{args.kind.empty() && !common.json ? "effllm list ..." : "name", "what"}};
  Mechanisms detailed;
  std::vector<std::string_view> known;
  for (const Kind& k : kinds()) {
    known.push_back(k.name);
    if (args.kind.empty()) rows.push_back({std::string(k.name), std::string(k.summary)});
    if (k.name != args.kind) continue;
    rows = k.rows();
    if (args.details && k.mechanisms) detailed = k.mechanisms();
  }
  if (!args.kind.empty() && std::ranges::find(known, args.kind) == known.end())
    throw ConfigError("there is no list of `{}`.{} `effllm list` shows what can be listed", args.kind,
                      did_you_mean(args.kind, known));
  if (common.json)
    print_json(rows, detailed, args.kind == "ffns");
  else if (!detailed.empty())
    print_details(detailed, args.markdown, args.kind == "ffns");
  else
    fmt::print("{}", args.markdown ? markdown_table(rows) : table(rows));
  return ExitCode::ok;
}

}  // namespace effllm::app
