#include "sweep/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

#include "base/text.h"
#include "sweep/arm_runs.h"
#include "sweep/settle.h"

namespace effllm {
namespace {

using nlohmann::json;
using ArmRuns = std::vector<PointRuns>;

// What tells one corpus from another. Of a task the seed is not among it: each run has samples of its own.
std::string corpus_of(const json& data) {
  if (!data.contains("task")) return data.at("hash").dump();
  const std::string task = data.at("task");
  return task.substr(0, task.rfind(", seed "));
}

// Where a score belongs: they compare only where all of it is the same.
std::vector<std::pair<std::string, std::string>> belongs_to(const json& result) {
  std::vector<std::pair<std::string, std::string>> all;
  for (const char* part : {"chosen_on", "reported"}) {
    const json& s = result.at(part);
    all.emplace_back("protocol", s.at("protocol").dump());
    all.emplace_back("split", s.at("split").dump());
    all.emplace_back("corpus", corpus_of(s.at("data")));
    all.emplace_back("bounds and likelihoods", s.at("bound").dump());
  }
  return all;
}

// Why a result can't be held against `reference`; empty where it can.
std::string measured_otherwise(const json& result, const json& reference) {
  const auto a = belongs_to(result), b = belongs_to(reference);
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i])
      return fmt::format("another {} than the baseline's: {}, not {}", a[i].first, a[i].second, b[i].second);
  return "";
}

// A part of what is reported, of all seeds; unset where one has none.
template <class Part>
std::optional<Estimate> mean_where_there(const std::vector<KeptRun>& seeds, const char* name, Part part) {
  std::vector<double> all;
  for (const KeptRun& k : seeds) {
    const json& reported = k.result->at("reported");
    const auto found = reported.find(name);
    if (found == reported.end() || found->is_null()) return std::nullopt;
    all.push_back(part(*found));
  }
  return mean_of(all);
}

// Fills in what an arm came to; the reason why it has no verdict, where it has none.
std::string fill(ArmRow& row, const ArmRuns& runs, const json& tune, const json& arm, std::string_view unit,
                 const json* reference) {
  if (runs.empty()) return "it has no runs of these seeds (effllm sweep --confirm)";
  if (std::string why = incomplete(runs); !why.empty()) return why;
  Best best = best_of(runs, unit);
  row.notes = std::move(best.notes);
  if (!best.runs) return best.reason;
  const auto& [point, seeds] = *best.runs;
  for (const json& k : tune) row.chosen.emplace_back(k.at("key"), point.at(k.at("key").get<std::string>()));
  for (const KeptRun& k : seeds) row.scores.push_back(bits_of(k.result->at("reported"), unit));
  row.chosen_on = best.mean;
  row.reported = mean_of(row.scores);
  row.accuracy = mean_where_there(seeds, "accuracy", [](const json& a) { return a.get<double>(); });
  row.training_choice =
      mean_where_there(seeds, "training_choice", [&](const json& score) { return bits_of(score, unit); });
  row.bound = seeds.front().result->at("reported").at("bound");
  row.tokens = seeds.front().result->at("tokens");
  for (const PointRuns& p : runs)
    for (const KeptRun& k : p.seeds)
      if (k.result)
        if (std::string why = measured_otherwise(*k.result, *reference); !why.empty()) {
          row.apart = true;
          return why;
        }
  Edges edges = edges_of(tune, point, arm);
  row.notes.insert(row.notes.end(), edges.notes.begin(), edges.notes.end());
  return edges.reason;
}

// Of each seed the hash of the data and their order, of the chosen point.
std::vector<std::string> orders_of(const ArmRuns& runs, const ArmRow& row) {
  json chosen = json::object();
  for (const auto& [key, value] : row.chosen) chosen[key] = value;
  std::vector<std::string> orders;
  for (const KeptRun& k : std::ranges::find(runs, chosen, &PointRuns::point)->seeds)
    orders.push_back(k.result->at("data_order_sha256"));
  return orders;
}

void add_texts(const StudyFolder& folder, StudyTable& t) {
  const auto all = read_object_if_there(folder.baselines());
  if (!all) {
    t.texts_left_out.emplace_back("n-gram models and compressors on the same text were not measured");
    return;
  }
  for (const json& l : all->value("left_out", json::array()))
    t.texts_left_out.push_back(l.at("name").get<std::string>() + ": " + l.at("reason").get<std::string>());
  double factor = 1;
  if (t.unit == "bits/char") factor = all->at("bytes").get<double>() / all->at("characters").get<double>();
  std::map<std::string, size_t> places;
  for (const json& b : all->at("baselines")) {  // of each the best: what it reads before helps, or doesn't
    TextRow row{b.at("name"), b.at("before"), factor * b.at("bits_per_byte").get<double>()};
    const auto [place, first] = places.emplace(row.name, t.texts.size());
    if (first)
      t.texts.push_back(row);
    else if (row.value < t.texts[place->second].value)
      t.texts[place->second] = row;
  }
}

// The table of one study while it is put together.
class Comparer {
 public:
  Comparer(const StudyFolder& folder, const json& plan, const std::string& wanted) : plan_(plan) {
    t_.study = plan.at("name"), t_.split = plan.at("split"), t_.chosen_on = plan.at("chosen_on");
    t_.seeds = plan.at("seeds");
    t_.tune_seeds = plan.value("tune_seeds", t_.seeds);
    std::vector<std::string> names;
    for (const json& a : plan.at("arms")) names.push_back(a.at("name"));
    const auto base = wanted.empty() ? names.begin() : std::ranges::find(names, wanted);
    if (base == names.end())
      throw ConfigError("--baseline: the study has no arm {}.{}", wanted, did_you_mean(wanted, names));
    base_ = static_cast<size_t>(base - names.begin());
    for (const std::string& name : names) runs_.push_back(runs_of(folder, plan, name));
  }

  StudyTable table(const StudyFolder& folder) {
    look_for_reference();
    for (size_t a = 0; a < runs_.size(); ++a) add_arm(a);
    hold_against_baseline();
    add_texts(folder, t_);
    return std::move(t_);
  }

 private:
  // The unit that all results have, and a result that the others are to be like: the baseline's, or any.
  void look_for_reference() {
    t_.unit = "bits/char";
    for (const ArmRuns& runs : runs_)
      if (const std::string unit = unit_of(runs); unit != "bits/char") t_.unit = unit;
    for (size_t a = 0; a < runs_.size(); ++a)
      for (const PointRuns& p : runs_[a])
        for (const KeptRun& k : p.seeds)
          if (k.result && (!reference_ || (a == base_ && reference_->at("arm") != plan_.at("arms")[base_].at("name"))))
            reference_ = &*k.result;
    if (!reference_) return;
    t_.guess = guess_of(reference_->at("reported"));
    t_.protocol = reference_->at("reported").at("protocol");
    t_.corpus = reference_->at("reported").at("corpus");
  }

  double guess_of(const json& score) const {
    if (t_.unit != "bits/char") return t_.unit == "bits/token" ? 16 : 8;
    const double of_bytes = score.at("bits_per_byte"), of_chars = score.at("bits_per_char");
    return of_bytes > 0 ? 8 * of_chars / of_bytes : 8;
  }

  void add_arm(size_t a) {
    const json& arm = plan_.at("arms")[a];
    ArmRow row;
    row.name = arm.at("name"), row.matched = arm.at("matched"), row.baseline = a == base_;
    row.parameters = arm.at("parameters"), row.state_bytes = arm.at("state_bytes");
    row.flops_per_token = arm.at("train_flops_per_token");
    row.decode_flops_per_token = arm.value("decode_flops_per_token", 0.0);
    row.comparison.reason = fill(row, runs_[a], plan_.at("tune"), arm, t_.unit, reference_);
    t_.arms.push_back(std::move(row));
  }

  void hold_against_baseline() {
    const ArmRow& base = t_.arms[base_];
    std::vector<Series> series;
    std::vector<size_t> which;
    for (size_t a = 0; a < t_.arms.size(); ++a) {
      ArmRow& row = t_.arms[a];
      if (row.tokens > 0 && base.tokens > 0 && row.tokens != base.tokens)
        row.notes.push_back(fmt::format("trained on {}, the baseline on {}", counted(row.tokens, "token"),
                                        counted(base.tokens, "token")));
      if (row.baseline || !row.comparison.reason.empty()) continue;
      if (!base.comparison.reason.empty()) {
        row.comparison.reason = "the baseline has none: " + base.comparison.reason;
        continue;
      }
      which.push_back(a);
      series.push_back({row.scores, orders_of(runs_[a], row) == orders_of(runs_[base_], base)});
    }
    const std::vector<Comparison> compared = compare_all(series, base.scores);
    for (size_t i = 0; i < which.size(); ++i) {
      ArmRow& row = t_.arms[which[i]];
      row.comparison = compared[i];
      row.paired = series[i].paired;
      if (row.comparison.level > 0)
        row.detectable = smallest_detectable(row.comparison.difference, row.comparison.level);
    }
  }

  const json& plan_;
  size_t base_ = 0;
  std::vector<ArmRuns> runs_;
  const json* reference_ = nullptr;
  StudyTable t_;
};

}  // namespace

StudyTable compare_study(const StudyFolder& folder, const std::string& baseline) {
  return compare_study(folder, read_plan(folder), baseline);
}

StudyTable compare_study(const StudyFolder& folder, const json& plan, const std::string& baseline) {
  try {
    return Comparer(folder, plan, baseline).table(folder);
  } catch (const json::exception& e) {
    throw DataError("{}: a file of the study is damaged or of another version: {}", folder.path().string(), e.what());
  }
}

}  // namespace effllm
