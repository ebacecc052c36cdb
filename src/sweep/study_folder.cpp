#include "sweep/study_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <thread>

#include "config/difference.h"
#include "store/file.h"
#include "sweep/settle.h"
#include "train/kept_config.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostBytes = 16 << 20;
constexpr size_t kMostShown = 20;

// Another one that begins holds it for as long as it writes configurations.
FileLock patient_lock(const fs::path& folder) {
  for (int i = 0;; ++i) try {
      return FileLock(folder);
    } catch (const LockedError&) {
      if (i == 300) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

void make(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw IoError("the folder {} can't be made: {}", folder.string(), error.message());
}

// As this version of the program writes it: keys that came since have their defaults.
ConfigNode as_now(const fs::path& file) { return write_run_config(read_run_config(load_config(file), file)); }

// Whether baselines are wanted changes no result.
ConfigNode scoring(const std::string& text) {
  ConfigNode n = parse_config(text, "eval");
  n.erase("baselines");
  return n;
}

int64_t ended_runs(const StudyFolder& folder) {
  std::error_code error;
  const fs::path results = folder.path() / "results";
  return fs::exists(results, error) ? static_cast<int64_t>(list_folder(results).size()) : 0;
}

bool has_claim(const Plan& plan, const std::string& text) {
  return std::ranges::any_of(plan.study.claims, [&](const ClaimOptions& c) { return to_flow_yaml(write(c)) == text; });
}

// Of these runs, those that have a result or failed.
int64_t ended_of(const StudyFolder& folder, const nlohmann::json& runs) {
  std::error_code error;
  return std::ranges::count_if(runs, [&](const nlohmann::json& r) {
    return fs::exists(folder.result(r.at("run")), error) || fs::exists(folder.failure(r.at("run")), error);
  });
}

// How many runs had ended when each claim was first kept, of how many; and of held-out seeds the same.
void date_claims(nlohmann::json& now, const StudyFolder& folder) {
  const auto raw = read_object_if_there(folder.plan()), held_out = read_object_if_there(folder.confirm());
  if (!raw) return;
  const nlohmann::json before = settled(folder, *raw);
  const nlohmann::json none = nlohmann::json::array(), &runs = before.at("runs"),
                       &held = held_out ? held_out->at("runs") : none;
  const nlohmann::json date = {{"after_runs", ended_of(folder, runs)},
                               {"of_runs", runs.size()},
                               {"after_held_out", ended_of(folder, held)},
                               {"of_held_out", held.size()}};
  for (auto& claim : now.at("claims")) {
    claim.update(date);
    for (const auto& kept : before.value("claims", none))
      if (kept.at("claim") == claim.at("claim")) claim = kept;
  }
}

void keep_configs(const StudyFolder& folder, const Plan& plan) {
  std::error_code error;
  for (const PlannedRun& r : plan.runs)
    if (!fs::exists(folder.config(r.name), error))
      write_file_atomic(folder.config(r.name), to_yaml(resolved_config(r.config, r.corpus)));
}

bool has_files(const StudyFolder& folder, const std::string& run) {
  std::error_code error;
  return fs::exists(folder.result(run), error) || fs::exists(folder.failure(run), error) ||
         fs::exists(folder.run(run), error);
}

bool has_begun(const StudyFolder& folder, const std::string& run) {
  return has_files(folder, run) || is_locked(folder.work(run));
}

std::vector<ConfigChange> changes_of(const StudyFolder& folder, const PlannedRun& now) {
  return differences(as_now(folder.config(now.name)), resolved_config(now.config, now.corpus));
}

// Removes the configurations of runs that have not begun and are no longer planned, or otherwise; how many. Each under
// its lock, so that no worker begins it meanwhile.
int64_t drop_unbegun(const StudyFolder& folder, const Plan& plan, const nlohmann::json& before) {
  int64_t dropped = 0;
  std::error_code error;
  for (const auto& r : before.at("runs")) {
    const std::string name = r.at("run");
    const auto now = std::ranges::find(plan.runs, name, &PlannedRun::name);
    if (!fs::exists(folder.config(name), error) || (now != plan.runs.end() && changes_of(folder, *now).empty()))
      continue;
    const bool own_folder = !fs::exists(folder.work(name), error);
    make(folder.work(name));
    {
      const FileLock lock(folder.work(name));
      if (has_files(folder, name)) throw LockedError("{}: {} has begun meanwhile", folder.path().string(), name);
      fs::remove(folder.config(name), error);
    }
    if (own_folder) fs::remove_all(folder.work(name), error);
    ++dropped;
  }
  return dropped;
}

std::vector<std::string> changes_of(const StudyFolder& folder, const Plan& plan, const nlohmann::json& before) {
  std::vector<std::string> lines;
  std::set<std::string> said;  // the same of each seed is said once
  const auto say = [&](std::string line) {
    if (said.insert(line).second) lines.push_back(std::move(line));
  };
  if (before.at("chosen_on") != plan.chosen_on)
    say(fmt::format("eval.split of the base: {} -> {}", before.at("chosen_on").get<std::string>(), plan.chosen_on));
  for (const ConfigChange& c :
       differences(scoring(before.at("eval")), scoring(to_flow_yaml(write(plan.study.eval))), "eval"))
    say(c.text());
  for (const auto& r : before.at("runs")) {
    const std::string name = r.at("run"), arm = r.at("arm");
    const auto now = std::ranges::find(plan.runs, name, &PlannedRun::name);
    if (!has_begun(folder, name)) continue;
    if (now == plan.runs.end()) {
      say(fmt::format("arm {}: {} is no run any more", arm, name));
      continue;
    }
    for (const ConfigChange& c : changes_of(folder, *now)) say(fmt::format("arm {}: {}", arm, c.text()));
  }
  if (ended_runs(folder) > 0)
    for (const auto& kept : before.value("claims", nlohmann::json::array()))
      if (!has_claim(plan, kept.at("claim")))
        say(fmt::format("a claim was changed or taken out after runs had ended: {}",
                        kept.at("claim").get<std::string>()));
  return lines;
}

}  // namespace

void StudyFolder::require_same(const Plan& now) const {
  const auto before = read_object_if_there(plan());
  if (!before) return;
  std::vector<std::string> lines;
  try {
    lines = changes_of(*this, now, *before);
  } catch (const nlohmann::json::exception& e) {
    throw DataError("{}: {}", plan().string(), e.what());
  }
  if (lines.empty()) return;
  std::string text = fmt::format(
      "{} holds runs of another study than {} now is; put it back, or choose another folder (-o). What has begun may "
      "not change, nor go:",
      path_.string(), now.study.file.string());
  for (size_t i = 0; i < std::min(lines.size(), kMostShown); ++i) text += "\n  " + lines[i];
  if (lines.size() > kMostShown) text += fmt::format("\n  and {} more", lines.size() - kMostShown);
  throw ConfigError(text);
}

bool StudyFolder::keeps(const PlannedRun& run) const {
  std::error_code error;
  return fs::exists(config(run.name), error) && changes_of(*this, run).empty();
}

int64_t StudyFolder::take(const Plan& now) const {
  make(path_);
  const FileLock lock = patient_lock(path_);
  require_same(now);
  sweep_stale_temps(path_);
  for (const char* part : {"configs", "results", "timings", "predicted", "failed", "runs", "work"}) {
    make(path_ / part);
    sweep_stale_temps(path_ / part);  // of workers that were killed while they wrote
  }
  const auto before = read_object_if_there(plan());
  const int64_t dropped = before ? drop_unbegun(*this, now, *before) : 0;
  keep_configs(*this, now);
  write_file_atomic(path_ / "study.yaml", read_file(now.study.file, 1 << 20));
  nlohmann::json kept = to_json(now);
  date_claims(kept, *this);
  write_object(plan(), kept);
  return dropped;
}

void StudyFolder::take_held_out(const Plan& now) const {
  const FileLock lock = patient_lock(path_);
  nlohmann::json runs = nlohmann::json::array(), tune = nlohmann::json::array();
  for (const PlannedRun& r : now.runs) runs.push_back(identity_of(now, r));
  for (const TuneKey& k : now.study.tune) tune.push_back({{"key", k.key}, {"values", nlohmann::json::array()}});
  if (const auto before = read_object_if_there(confirm()))
    for (const auto& r : before->at("runs"))
      if (std::ranges::find(runs, r) == runs.end())
        throw ConfigError(
            "{} holds out the run {}, and now another would be: what is chosen has changed since, or `confirm` was "
            "made "
            "smaller. Put it back, or choose another folder (-o)",
            path_.string(), r.at("run").get<std::string>());
  keep_configs(*this, now);
  write_object(confirm(), {{"schema_version", 1}, {"seeds", now.study.seeds}, {"tune", tune}, {"runs", runs}});
}

std::optional<nlohmann::json> read_object_if_there(const fs::path& file) {
  std::error_code error;
  if (!fs::exists(file, error)) return std::nullopt;
  nlohmann::json j = nlohmann::json::parse(read_file(file, kMostBytes), nullptr, false);
  if (!j.is_object()) throw DataError("{} is not a JSON object", file.string());
  return j;
}

nlohmann::json read_object(const fs::path& file) {
  auto j = read_object_if_there(file);
  if (!j) throw DataError("{} is not there", file.string());
  return std::move(*j);
}

void write_object(const fs::path& file, const nlohmann::json& object) {
  write_file_atomic(file, object.dump(2, ' ', true, nlohmann::json::error_handler_t::replace) + "\n");
}

}  // namespace effllm
