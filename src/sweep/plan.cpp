#include "sweep/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"
#include "config/range_watch.h"
#include "eval/evaluator.h"
#include "sweep/blame.h"
#include "sweep/timed_sizes.h"
#include "train/foresight.h"
#include "train/preflight.h"
#include "train/signals.h"

namespace effllm {
namespace {

constexpr size_t kMostRuns = 10'000;
constexpr double kWidest = 1 << 16;

ConfigNode number(double n, const Mark& mark) { return ConfigNode::scalar(shortest(n), mark); }

// The `count`-th multiple of match.step, without the noise of its last digits.
double multiple(const MatchOptions& m, int64_t count) {
  return std::strtod(fmt::format("{:.12g}", m.step * static_cast<double>(count)).c_str(), nullptr);
}
int64_t most_of(const MatchOptions& m) { return static_cast<int64_t>(kWidest / m.step); }

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
    if (plan_.study.match) match_all();
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

  // `use` of the base with what an arm and then `point` set; an error is told at its key of the study.
  template <class Use>
  auto with_blame(const StudyArm& arm, const std::vector<WrittenOverride>& point, Use use) const
      -> decltype(use(std::declval<const ConfigNode&>())) {
    std::vector<WrittenOverride> all = arm.overrides;
    all.insert(all.end(), point.begin(), point.end());
    ConfigNode root = base_;
    for (const WrittenOverride& o : all) assign(root, o);
    try {
      return use(root);
    } catch (const Error& e) {
      blame(plan_.study, base_, arm, all, e, use);
    }
  }

  void match_all() {
    const MatchOptions& m = *plan_.study.match;
    char* end = nullptr;
    double target = std::strtod(m.to.c_str(), &end);
    const auto like = std::ranges::find(plan_.study.arms, m.to, &StudyArm::name);
    const bool timed = m.what == "time";
    if (like != plan_.study.arms.end() && !timed)
      target = with_blame(*like, {}, [&](const ConfigNode& root) { return sized(root); }).of(m.what);
    else if (like == plan_.study.arms.end() && (*end || !(target > 0) || !std::isfinite(target)))
      throw_at(m.mark, fmt::format("match.to: `{}` is neither a size nor an arm", m.to));
    matched_.resize(trees_.size());
    for (size_t a = 0; a < trees_.size(); ++a)
      if (like == plan_.study.arms.end() || &plan_.study.arms[a] != &*like)
        timed ? match_time(a, like == plan_.study.arms.end() ? nullptr : &*like, target) : match(a, target);
  }

  ModelSize sized(const ConfigNode& root) const {
    const RunConfig c = config_of(root);
    return size_of(c, vocab_of(c));
  }

  void match(size_t a, double target) {
    const MatchOptions& m = *plan_.study.match;
    const auto with = [&](int64_t n) {
      ConfigNode root = trees_[a];
      assign(root, {m.key, number(multiple(m, n), m.mark), m.mark});
      return root;
    };
    const int64_t vocab =
        with_blame(plan_.study.arms[a], {}, [&](const ConfigNode& root) { return vocab_of(config_of(root)); });
    const auto value = [&](int64_t n) -> std::optional<double> {
      try {
        return size_of(config_of(with(n)), vocab).of(m.what);
      } catch (const ConfigError&) {  // heads that don't divide it
        return std::nullopt;
      } catch (const ShapeError&) {  // larger than any memory
        return std::nullopt;
      } catch (const MemoryError&) {
        return std::nullopt;
      }
    };
    const std::string& name = plan_.study.arms[a].name;
    const auto n = nearest(value, target, 1, most_of(m));
    if (!n) {
      with_blame(plan_.study.arms[a], {{m.key, number(m.step, m.mark), m.mark}},
                 [&](const ConfigNode& root) { return config_of(root), true; });  // says what is wrong with all of them
      throw_at(m.mark, fmt::format("match: no multiple of {} is a {} of arm {}", shortest(m.step), m.key, name));
    }
    settle(a, multiple(m, *n), *value(*n) / target - 1, shortest(target) + " " + m.what);
  }

  // By the measured time of a step, held against that of the arm that it is to be like, or against seconds for a token.
  void match_time(size_t a, const StudyArm* like, double target) {
    const MatchOptions& m = *plan_.study.match;
    const std::string& name = plan_.study.arms[a].name;
    const std::string than = like ? like->name + " in time" : shortest(target) + " seconds a token";
    if (!sizes_) {
      matched_[a] = m.key + ": measured by sweep";
      return;
    }
    const auto before = sizes_->kept(m, name);
    auto size = before;
    if (!size) {
      std::map<int64_t, std::optional<double>> ratios;
      const auto ratio = [&](int64_t n) {
        const auto [it, first] = ratios.emplace(n, std::nullopt);
        if (first) it->second = time_ratio(a, n, like, target);
        return it->second;
      };
      const auto n = nearest(ratio, 1, 1, most_of(m));
      if (!n) throw_at(m.mark, fmt::format("match: steps of arm {} can't be timed with any {}", name, m.key));
      size = TimedSizes::Size{multiple(m, *n), *ratio(*n)};
    }
    settle(a, size->value, size->ratio - 1, than);
    if (!before) sizes_->keep(m, name, *size);
  }

  // Unset where there is no such model.
  std::optional<double> time_ratio(size_t a, int64_t n, const StudyArm* like, double target) const {
    const MatchOptions& m = *plan_.study.match;
    try {
      ConfigNode root = trees_[a];
      assign(root, {m.key, number(multiple(m, n), m.mark), m.mark});
      const RunConfig config = config_of(root);
      if (!like) return sizes_->ratio(config, nullptr, target);
      const RunConfig other = config_of(tree_of(*like));
      return sizes_->ratio(config, &other, 0);
    } catch (const ConfigError&) {
      return std::nullopt;
    } catch (const ShapeError&) {
      return std::nullopt;
    }
  }

  // Arm `a` gets the value `n` of match.key, which is `off` more than what it is to be like.
  void settle(size_t a, double n, double off, const std::string& than) {
    const MatchOptions& m = *plan_.study.match;
    const std::string& name = plan_.study.arms[a].name;
    matched_[a] = fmt::format("{} {}: {} {} than {}", m.key, shortest(n), human_percent(std::abs(off)),
                              off < 0 ? "less" : "more", than);
    if (std::abs(off) > m.tol)
      throw_at(m.mark,
               fmt::format("match: arm {} comes no nearer than {}, beyond match.tol {}; take a smaller match.step, or "
                           "another match.key{}",
                           name, matched_[a], shortest(m.tol),
                           m.what == "time" ? ", or a larger match.tol: times scatter" : ""));
    assign(trees_[a], {m.key, number(n, m.mark), m.mark});
    plan_.study.arms[a].overrides.push_back({m.key, number(n, m.mark), m.mark});
  }

  static std::vector<std::pair<std::string, Range>> ranges_of(const Point& point, const RangeWatch& watch) {
    std::vector<std::pair<std::string, Range>> all;
    for (const WrittenOverride& o : point.overrides)
      if (const auto range = watch.at(o.value.mark())) all.emplace_back(o.path, *range);
    return all;
  }

  // The first seed of each point, after all that `check` looks at.
  std::vector<PlannedRun> checked(size_t a) {
    const StudyArm& arm = plan_.study.arms[a];
    PlannedArm planned{.name = arm.name, .overrides = {}, .size = {}, .matched = matched_.empty() ? "" : matched_[a]};
    std::vector<PlannedRun> all;
    for (size_t p = 0; p < plan_.points.size(); ++p) {
      if (Signals::stop_requested())
        throw Error(ExitCode::interrupted, "stopped while runs were checked: none has begun");
      const RangeWatch watch;
      all.push_back(
          with_blame(arm, plan_.points[p].overrides, [&](const ConfigNode& root) { return first_run(root, a, p); }));
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
