#include "sweep/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "config/range_watch.h"
#include "eval/evaluator.h"
#include "sweep/blame.h"
#include "sweep/match_arms.h"
#include "train/foresight.h"
#include "train/preflight.h"
#include "train/signals.h"

namespace effllm {
namespace {

constexpr size_t kMostRuns = 10'000;
// Turns a study into runs; what stands in one place has a member.
class Planner {
 public:
  Planner(Study study, TimedSizes* sizes) : sizes_(sizes) {
    plan_.study = std::move(study);
    base_ = load_base();
  }

  Plan plan() {
    plan_.points = points();
    for (const StudyArm& a : plan_.study.arms) trees_.push_back(tree_of(a));
    if (trees_.size() * plan_.points.size() * static_cast<size_t>(plan_.study.seeds) > kMostRuns)
      throw_at(plan_.study.mark, fmt::format("the study has more than {} runs", kMostRuns));
    matched_ = match_arms(plan_.study, base_, trees_, sizes_);
    std::vector<std::vector<PlannedRun>> firsts;  // of each arm, the first seed of each point
    for (size_t a = 0; a < trees_.size(); ++a) firsts.push_back(checked(a));
    for (int64_t seed = 1; seed <= plan_.study.seeds; ++seed)
      for (size_t a = 0; a < trees_.size(); ++a)
        for (const PlannedRun& first : firsts[a]) plan_.runs.push_back(with_seed(plan_, first, seed));
    return std::move(plan_);
  }

 private:
  ConfigNode load_base() const {
    try {
      ConfigNode root = load_config(plan_.study.base);
      int index = 0;
      for (const std::string& o : plan_.study.set) apply_override(root, o, ++index);
      return root;
    } catch (const ConfigErrors&) {
      throw;
    } catch (const ConfigError& e) {  // there is no such file
      throw_at(plan_.study.base_mark, e.what());
    }
  }

  std::vector<Point> points() const {
    std::vector<Point> all(1);
    for (const TuneKey& k : plan_.study.tune) {
      std::vector<Point> more;
      for (const Point& p : all)
        for (const ConfigNode& v : k.values) {
          more.push_back(p);
          more.back().overrides.push_back({k.key, v, k.mark});
          more.back().name += fmt::format("{}{}-{}", p.name.empty() ? "" : "+", name_of_key(k.key, false), name_of(v));
        }
      all = std::move(more);
    }
    return all;
  }

  ConfigNode tree_of(const StudyArm& a) const {
    ConfigNode root = base_;
    for (const WrittenOverride& o : a.overrides) assign(root, o);
    return root;
  }

  RunConfig config_of(const ConfigNode& root) const { return read_run_config(root, plan_.study.base); }

  static std::vector<std::pair<std::string, Range>> ranges_of(const Point& point, const RangeWatch& watch) {
    std::vector<std::pair<std::string, Range>> all;
    for (const WrittenOverride& o : point.overrides)
      if (const auto range = watch.at(o.value.mark())) all.emplace_back(o.path, *range);
    return all;
  }

  // The first seed of each point, after all that `check` looks at.
  std::vector<PlannedRun> checked(size_t a) {
    const StudyArm& arm = plan_.study.arms[a];
    PlannedArm planned{.name = arm.name, .overrides = {}, .size = {}, .matched = matched_[a]};
    std::vector<PlannedRun> all;
    for (size_t p = 0; p < plan_.points.size(); ++p) {
      if (Signals::stop_requested())
        throw Error(ExitCode::interrupted, "stopped while runs were checked: none has begun");
      const RangeWatch watch;
      all.push_back(with_blame(plan_.study, base_, arm, plan_.points[p].overrides,
                               [&](const ConfigNode& root) { return first_run(root, a, p); }));
      if (p == 0) planned.ranges = ranges_of(plan_.points[p], watch);
    }
    planned.size = size_;
    for (const WrittenOverride& o : arm.overrides) planned.overrides.emplace_back(o.path, to_flow_yaml(o.value));
    plan_.arms.push_back(std::move(planned));
    return all;
  }

  PlannedRun first_run(const ConfigNode& root, size_t a, size_t p) {
    PlannedRun r{.name = {}, .arm = a, .point = p, .config = config_of(root), .corpus = {}};
    const RunConfig& c = r.config;
    Preflight ready = preflight(c);
    Diagnostics found;
    for (const Doubt& d : ready.doubts) found.error(d.where, d.message);
    found.throw_if_any();
    if (p == 0) size_ = size_of(c, ready.tokenizer->vocab_size());
    check_scoring(c, ready);
    r.corpus = ready.corpus.file();
    r.steps = expected_steps(c, ready.flops_per_token, ready.epoch_samples).value_or(0);
    const auto some = [](int64_t n, int64_t most) { return most > 0 ? std::min(n, most) : n; };
    r.eval_tokens = some(static_cast<int64_t>(ready.val.tokens.size()), c.eval.max_tokens);
    r.memory = ready.plan.total();
    r.scored_tokens = some(scored_, plan_.study.eval.max_tokens);
    return r;
  }

  // What `effllm eval` would refuse of the trained model.
  void check_scoring(const RunConfig& c, const Preflight& ready) {
    const StudyEvalOptions& e = plan_.study.eval;
    if (plan_.chosen_on.empty()) plan_.chosen_on = c.eval.split;
    if (c.eval.split != plan_.chosen_on)
      throw_at(c.mark_of("eval", "split"),
               fmt::format("eval.split is {} here and {} in other arms: results of a study are chosen on one",
                           c.eval.split, plan_.chosen_on));
    if (e.split == c.eval.split)
      throw_at(c.mark_of("eval", "split"),
               fmt::format("checkpoints would be chosen on {}, which the study reports (its eval.split)", e.split));
    scored_ = static_cast<int64_t>(ready.corpus.tokenize(*ready.tokenizer, parse_split(e.split)).tokens.size());
    if (c.data.task && (!e.protocol.empty() || e.stride || e.tokens || e.max_tokens))
      throw_at(e.mark, fmt::format("samples of {} are scored one by one, and all of a split: leave protocol, tokens, "
                                   "stride and max_tokens out",
                                   c.data.task.name()));
    EvalOptions o = evaluation_of(c);
    const std::string_view name = e.protocol.empty() ? o.protocol.name() : e.protocol;
    try {
      if (e.stride || name != o.protocol.name()) o.protocol = protocol(name, e.stride);
      if (e.tokens) o.tokens = *e.tokens;
      require_options(*ready.model, *c.objective.type.build(), *ready.tokenizer,
                      fitted(o, scored_, c.objective.type.build()->lookahead()));
    } catch (const ConfigErrors&) {
      throw;
    } catch (const ConfigError& wrong) {
      throw_at(e.mark, wrong.what());
    }
  }

  Plan plan_;
  TimedSizes* sizes_;
  ConfigNode base_;
  std::vector<ConfigNode> trees_;     // of the arms
  std::vector<std::string> matched_;  // the same
  ModelSize size_;                    // of the arm at hand
  int64_t scored_ = 0;
};

nlohmann::json values_of(const std::vector<WrittenOverride>& overrides) {
  nlohmann::json j = nlohmann::json::object();
  for (const WrittenOverride& o : overrides) j[o.path] = to_flow_yaml(o.value);
  return j;
}

nlohmann::json number_or_null(double v) { return std::isfinite(v) ? nlohmann::json(v) : nlohmann::json(); }

}  // namespace

size_t Plan::count() const {
  const auto others = static_cast<size_t>(study.seeds - study.tune_seeds);
  return held_out ? runs.size() : runs.size() - arms.size() * others * (points.size() - 1);
}

Plan make_plan(Study study, TimedSizes* sizes) { return Planner(std::move(study), sizes).plan(); }

PlannedRun with_seed(const Plan& plan, const PlannedRun& first, int64_t seed) {
  PlannedRun r = first;
  r.seed = seed;
  r.config.data.seed += seed - 1;
  r.config.train.seed += seed - 1;
  const std::string& point = plan.points[r.point].name;
  r.name = fmt::format("{}{}{}.s{}", plan.arms[r.arm].name, point.empty() ? "" : ".", point, seed);
  if (r.name.size() > 200)
    throw_at(plan.study.mark, fmt::format("the name {} of a run is too long for a folder", r.name));
  r.config.name = r.name;
  return r;
}

nlohmann::json identity_of(const Plan& plan, const PlannedRun& run) {
  return {{"run", run.name},
          {"arm", plan.arms[run.arm].name},
          {"point", values_of(plan.points[run.point].overrides)},
          {"seed", run.seed}};
}

nlohmann::json to_json(const Plan& plan) {
  const StudyEvalOptions& e = plan.study.eval;
  nlohmann::json j = {{"schema_version", 1},
                      {"name", plan.study.name},
                      {"seeds", plan.study.seeds},
                      {"tune_seeds", plan.study.tune_seeds},
                      {"chosen_on", plan.chosen_on},
                      {"eval", to_flow_yaml(write(e))},
                      {"split", e.split},
                      {"tune", nlohmann::json::array()},
                      {"arms", nlohmann::json::array()},
                      {"runs", nlohmann::json::array()},
                      {"claims", nlohmann::json::array()}};
  for (const TuneKey& k : plan.study.tune) {
    nlohmann::json values = nlohmann::json::array();
    for (const ConfigNode& v : k.values) values.push_back(to_flow_yaml(v));
    j["tune"].push_back({{"key", k.key}, {"values", values}});
  }
  for (const PlannedArm& a : plan.arms) {
    nlohmann::json overrides = nlohmann::json::array();
    for (const auto& [key, value] : a.overrides) overrides.push_back({{"key", key}, {"value", value}});
    nlohmann::json ranges = nlohmann::json::object();
    for (const auto& [key, range] : a.ranges) ranges[key] = {number_or_null(range.lo), number_or_null(range.hi)};
    j["arms"].push_back({{"name", a.name},
                         {"overrides", overrides},
                         {"matched", a.matched},
                         {"parameters", a.size.parameters},
                         {"train_flops_per_token", a.size.flops_per_token},
                         {"decode_flops_per_token", a.size.decode_flops},
                         {"state_bytes", a.size.state_bytes},
                         {"ranges", ranges}});
  }
  for (const PlannedRun& r : plan.runs) j["runs"].push_back(identity_of(plan, r));
  for (const ClaimOptions& c : plan.study.claims)
    j["claims"].push_back({{"claim", to_flow_yaml(write(c))}, {"after_runs", 0}});
  return j;
}

}  // namespace effllm
