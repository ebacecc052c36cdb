#include "sweep/timed_sizes.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/version.h"
#include "train/kept_config.h"
#include "train/preflight.h"
#include "train/signals.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// As long as another process measures.
std::unique_ptr<FileLock> patient_lock(const fs::path& folder) {
  for (;;) try {
      return std::make_unique<FileLock>(folder);
    } catch (const LockedError&) {
      if (Signals::stop_requested()) throw;
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
    }
}

// What decides the sizes; how far off one may be is judged anew.
std::string question(const MatchOptions& match) {
  ConfigNode n = write(match);
  n.erase("tol");
  return to_flow_yaml(n);
}

}  // namespace

TimedSizes::TimedSizes(const StudyFolder& folder, int threads, bool writes)
    : file_(folder.path() / "match" / "sizes.json"), threads_(threads), writes_(writes) {
  if (writes) {
    std::error_code error;
    fs::create_directories(file_.parent_path(), error);
    if (error) throw IoError("the folder {} can't be made: {}", file_.parent_path().string(), error.message());
    lock_ = patient_lock(file_.parent_path());
  }
  kept_ = read_object_if_there(file_).value_or(json::object());
}

std::optional<TimedSizes::Size> TimedSizes::kept(const MatchOptions& match, const std::string& arm) const {
  if (kept_.empty()) return std::nullopt;
  try {
    if (kept_.at("match") != question(match))
      throw ConfigError(
          "{} keeps sizes that were measured for {}, and the study now says {}: put it back, or choose another folder "
          "(-o)",
          file_.string(), kept_.at("match").get<std::string>(), question(match));
    const auto it = kept_.at("arms").find(arm);
    if (it == kept_.at("arms").end()) return std::nullopt;
    return Size{it->at("value"), it->at("ratio")};
  } catch (const json::exception& e) {
    throw DataError("{} is damaged or of another version: {}", file_.string(), e.what());
  }
}

void TimedSizes::keep(const MatchOptions& match, const std::string& arm, const Size& size) {
  kept_["match"] = question(match);
  kept_["arms"][arm] = {{"value", size.value}, {"ratio", size.ratio},      {"threads", threads_},
                        {"host", host_name()}, {"cpu_model", cpu_model()}, {"measured_utc", utc_now()}};
  if (writes_) write_object(file_, kept_);
}

std::optional<double> TimedSizes::ratio(const RunConfig& config, const RunConfig* like, double seconds) const {
  std::vector<const RunConfig*> timed = {&config};
  if (like) timed.push_back(like);
  std::vector<ConfigNode> resolved;
  for (const RunConfig* c : timed) resolved.push_back(resolved_config(*c, corpus_of(*c).file()));
  const auto times = time_steps(resolved, scratch_.path(), static_cast<int>(timed.size()), threads_);
  if (Signals::stop_requested()) throw Error(ExitCode::interrupted, "stopped while sizes were timed: no run has begun");
  std::vector<double> of_token = {0, seconds};
  for (size_t i = 0; i < timed.size(); ++i) {
    if (!times[i]) return std::nullopt;
    of_token[i] = times[i]->quartile / static_cast<double>(timed[i]->train.batch * timed[i]->train.context);
  }
  return of_token[0] / of_token[1];
}

}  // namespace effllm
