#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "base/json.h"
#include "base/terminal.h"
#include "base/text.h"
#include "blocks/block.h"
#include "commands.h"
#include "config/yaml.h"
#include "cross/cross.h"
#include "eval/evaluator.h"
#include "ffn/ffn.h"
#include "json_output.h"
#include "mixers/mixer.h"
#include "optim/optimizer.h"
#include "projections/projection.h"
#include "sweep/study.h"
#include "train/run_config.h"

namespace effllm::app {
namespace {

using Rows = std::vector<std::vector<std::string>>;
using Mechanisms = List<LayerInfo>;

Rows mechanisms(const Mechanisms& all) {
  Rows rows = {{"name", "title", "family", "recurrence", "paper"}};
  for (const LayerInfo* m : all)
    rows.push_back({std::string(m->name), std::string(m->title), std::string(m->family), std::string(m->recurrence),
                    std::string(m->paper)});
  return rows;
}

// The fields of a state at width 256 with the default options, "s [4, 32, 64]"; those that grow say so.
std::string state_of(const LayerInfo& m) {
  constexpr int64_t kWidth = 256;
  ParamStore store;
  const LayerArgs args{.d_model = kWidth, .layer = 0, .layers = 1, .max_tokens = 256};
  const auto options = m.options();
  read(*options, parse_config(m.needs, "needs"), m.name);
  const auto built = m.build(*options, args, Scope(store));
  std::string all;
  const auto site = site_of(*built);
  for (const StateField* f : site->all()) {
    if (f->count) continue;
    // A ring is as long as it gets; what grows is told by the token.
    const bool grows = f->growth == Growth::per_token || f->growth == Growth::memory;
    const int64_t tokens = grows ? 1 : int64_t{1} << 40;
    all += fmt::format("{}{} {}{}", all.empty() ? "" : ", ", f->path, f->shape_for(tokens).str(),
                       f->growth == Growth::per_token ? " a token"
                       : f->growth == Growth::memory  ? " a token of the encoder"
                       : f->growth == Growth::window  ? " (ring)"
                                                      : "");
  }
  return all.empty() ? "none" : all;
}

// A line of Markdown, or as many as the terminal needs.
void print_line(const std::string& text, bool markdown) {
  if (markdown || output_columns() == 0) return fmt::print("{}\n", text);
  const auto parts = wrapped(text, static_cast<size_t>(std::max(output_columns() - 4, 20)));
  for (size_t i = 0; i < parts.size(); ++i) fmt::print("{}{}\n", i ? "    " : "", parts[i]);
}

void print_options(Options& options, bool markdown) {
  const std::string indent = markdown ? "" : "  ";
  Rows rows = {{indent + "option", "type", "default", "range", "meaning"}};
  for (const OptionInfo& o : describe(options)) rows.push_back({indent + o.name, o.type, o.shown, o.limits, o.help});
  fmt::print("{}\n", markdown ? markdown_table(rows) : table(rows));
}

void print_sections(const std::vector<ConfigSection>& sections, bool markdown) {
  for (const ConfigSection& s : sections) {
    const std::string name = s.path.empty() ? "the file" : s.path;
    print_line(markdown ? fmt::format("### {}\n\n{}\n", name, s.summary) : fmt::format("{}: {}", name, s.summary),
               markdown);
    print_options(*s.options, markdown);
  }
}

nlohmann::json to_json(const OptionInfo& o) {
  return {{"name", o.name}, {"type", o.type}, {"default", o.value}, {"range", o.limits}, {"meaning", o.help}};
}

nlohmann::json sections_json(const std::vector<ConfigSection>& sections) {
  nlohmann::json all = nlohmann::json::array();
  for (const ConfigSection& s : sections)
    for (const OptionInfo& o : describe(*s.options)) {
      all.push_back(to_json(o));
      all.back()["section"] = s.path;
    }
  return all;
}

void print_details(const Mechanisms& all, bool markdown) {
  for (const LayerInfo* m : all) {
    const auto line = [&](std::string_view what, std::string_view text) {
      if (!text.empty()) print_line(fmt::format("{}{}: {}", markdown ? "- " : "  ", what, text), markdown);
    };
    print_line(fmt::format("{}{}: {} ({})", markdown ? "### " : "", m->name, m->title, m->paper), markdown);
    line("family", m->family);
    line("recurrence", m->recurrence);
    line("state at width 256", state_of(*m));
    line("source", m->source);
    line("unseen past the context of training", m->unseen.empty() ? "nothing" : m->unseen);
    line("deviations", m->deviations);
    line("waiver, cuts", m->waivers.split);
    line("waiver, causality", m->waivers.causal);
    line("waiver, training form", m->waivers.training);
    line("waiver, costs", m->waivers.costs);
    if (markdown) fmt::print("\n");  // ends the list
    const auto options = m->options();
    print_options(*options, markdown);
  }
}

nlohmann::json details(const LayerInfo& m) {
  nlohmann::json j = {{"state_at_width_256", state_of(m)},
                      {"source", m.source},
                      {"unseen_past_training_context", m.unseen},
                      {"deviations", m.deviations},
                      {"waivers",
                       {{"cuts", m.waivers.split},
                        {"causality", m.waivers.causal},
                        {"training_form", m.waivers.training},
                        {"costs", m.waivers.costs}}},
                      {"options", nlohmann::json::array()}};
  const auto options = m.options();
  for (const OptionInfo& o : describe(*options)) j["options"].push_back(to_json(o));
  return j;
}

template <class Info>
Rows names(const List<Info>& all) {
  Rows rows = {{"name", "what"}};
  for (const Info* i : all) rows.push_back({std::string(i->name), std::string(i->title)});
  return rows;
}

// Of lists whose members say what they were made from.
template <class Info>
Rows with_papers(const List<Info>& all) {
  Rows rows = {{"name", "what", "paper"}};
  for (const Info* i : all) rows.push_back({std::string(i->name), std::string(i->title), std::string(i->paper)});
  return rows;
}

template <class Info>
void print_with_papers(const List<Info>& all, bool markdown) {
  for (const Info* i : all) {
    print_line(fmt::format("{}{}: {} ({})", markdown ? "### " : "", i->name, i->title, i->paper), markdown);
    for (const auto& [what, text] : {std::pair{"source", i->source}, {"deviations", i->deviations}})
      if (!text.empty()) print_line(fmt::format("{}{}: {}", markdown ? "- " : "  ", what, text), markdown);
    if (markdown) fmt::print("\n");
    if (const auto own = i->options(); !describe(*own).empty()) print_options(*own, markdown);
  }
}

template <class Info>
nlohmann::json json_with_papers(const List<Info>& all) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Info* i : all) {
    rows.push_back({{"name", i->name},
                    {"what", i->title},
                    {"paper", i->paper},
                    {"source", i->source},
                    {"deviations", i->deviations},
                    {"options", nlohmann::json::array()}});
    const auto own = i->options();
    for (const OptionInfo& option : describe(*own)) rows.back()["options"].push_back(to_json(option));
  }
  return rows;
}

struct Kind {
  std::string_view name, summary;
  std::function<Rows()> rows;
  const Mechanisms* mechanisms = nullptr;  // of kinds whose members have options
};

const std::vector<Kind>& kinds() {
  static const std::vector<Kind> all = {
      {"mixers", "sequence mixers (model.layers[].mixer)", [] { return mechanisms(all_mixers); }, &all_mixers},
      {"ffns", "channel mixers (model.layers[].ffn)", [] { return mechanisms(all_ffns); }, &all_ffns},
      {"crosses", "what a decoder reads an encoder with (model.layers[].cross)", [] { return mechanisms(all_crosses); },
       &all_crosses},
      {"blocks", "what a model is a list of (model.layers[].type)", [] { return mechanisms(all_blocks); }, &all_blocks},
      {"projections", "what mixers project with (projection of attention)",
       [] { return with_papers(all_projections); }},
      {"options", "the keys of every other section of a configuration", [] { return Rows(); }},
      {"studies", "the keys of a study (effllm sweep)", [] { return Rows(); }},
      {"objectives", "what is optimised (objective.type)", [] { return with_papers(all_objectives); }},
      {"optimizers", "optim.type", [] { return with_papers(all_optimizers); }},
      {"schedules", "learning-rate schedules (optim.schedule.type)", [] { return names(all_schedules); }},
      {"orders", "which tokens a step sees (data.order)", [] { return names(all_orders); }},
      {"tokenizers", "data.tokenizer", [] { return names(all_tokenizers); }},
      {"tasks", "what a program can make samples of (data.task)", [] { return with_papers(all_tasks); }},
      {"protocols", "how a split is evaluated (eval.protocol)", [] { return names(all_protocols); }},
  };
  return all;
}

void print_json(const Rows& rows, const Mechanisms* detailed) {
  nlohmann::json j = nlohmann::json::array();
  for (size_t r = 1; r < rows.size(); ++r) {
    nlohmann::json o;
    for (size_t c = 0; c < rows[0].size(); ++c) o[rows[0][c]] = rows[r][c];
    if (detailed) o.update(details(*detailed->all[r - 1]));
    j.push_back(std::move(o));
  }
  app::print_json(j);
}

}  // namespace

ExitCode list(const Common& common, const ListArgs& args) {
  Rows rows = {{args.kind.empty() && !common.json ? "effllm list ..." : "name", "what"}};
  const Mechanisms* detailed = nullptr;
  std::vector<std::string_view> known;
  for (const Kind& k : kinds()) {
    known.push_back(k.name);
    if (args.kind.empty()) rows.push_back({std::string(k.name), std::string(k.summary)});
    if (k.name != args.kind) continue;
    rows = k.rows();
    if (args.details && k.mechanisms) detailed = k.mechanisms;
  }
  if (!args.kind.empty() && std::ranges::find(known, args.kind) == known.end())
    throw ConfigError("there is no list of `{}`.{} `effllm list` shows what can be listed", args.kind,
                      did_you_mean(args.kind, known));
  const auto in_full = [&](const auto& all) {
    common.json ? app::print_json(json_with_papers(all)) : print_with_papers(all, args.markdown);
  };
  const auto in_sections = [&](const std::vector<ConfigSection>& all) {
    common.json ? app::print_json(sections_json(all)) : print_sections(all, args.markdown);
  };
  if (args.kind == "options")
    in_sections(all_sections());
  else if (args.kind == "studies")
    in_sections(study_sections());
  else if (args.kind == "optimizers" && args.details)
    in_full(all_optimizers);
  else if (args.kind == "objectives" && args.details)
    in_full(all_objectives);
  else if (args.kind == "tasks" && args.details)
    in_full(all_tasks);
  else if (args.kind == "projections" && args.details)
    in_full(all_projections);
  else if (common.json)
    print_json(rows, detailed);
  else if (detailed)
    print_details(*detailed, args.markdown);
  else
    fmt::print("{}", args.markdown ? markdown_table(rows) : table(rows));
  return ExitCode::ok;
}

}  // namespace effllm::app
