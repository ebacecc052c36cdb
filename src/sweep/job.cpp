#include "sweep/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "base/clock.h"
#include "base/escapes.h"
#include "base/hash.h"
#include "base/text.h"
#include "base/version.h"
#include "store/run_folder.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int64_t kMostLog = 64 << 20;
constexpr size_t kLastLines = 10;

fs::path made(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw IoError("the folder {} can't be made: {}", folder.string(), error.message());
  return folder;
}

std::vector<std::string> last_lines(const fs::path& log) {
  std::vector<std::string> lines;
  std::istringstream text(read_file(log, kMostLog));
  for (std::string line; std::getline(text, line);)
    if (!line.empty()) lines.push_back(printable(line));
  if (lines.size() > kLastLines) lines.erase(lines.begin(), lines.end() - kLastLines);
  return lines;
}

// A score without what differs from one time to the next.
json score_of(const fs::path& file) {
  json j = read_object(file);
  for (const char* key : {"seconds", "checkpoint"}) j.erase(key);
  return j;
}

bool ended_by_request(int code) {
  return code == static_cast<int>(ExitCode::interrupted) || code == 128 + 2 || code == 128 + 15;
}

}  // namespace

Job::Job(const Plan& plan, const PlannedRun& run, const StudyFolder& folder, int threads)
    : plan_(plan), run_(run), folder_(folder), threads_(threads), lock_(made(folder.work(run.name))) {}

void Job::start() {
  started_ = seconds_now();
  begin(Stage::train);
}

double Job::elapsed() const { return seconds_now() - started_; }

std::string Job::stage_name() const {
  return stage_ == Stage::train    ? "train"
         : stage_ == Stage::choose ? "eval --split " + plan_.chosen_on
                                   : "eval --split " + plan_.study.eval.split;
}

fs::path Job::output(Stage stage) const {
  constexpr const char* kNames[] = {"train.json", "choose.json", "report.json"};
  return folder_.work(run_.name) / kNames[static_cast<size_t>(stage)];
}

void Job::begin(Stage stage) {
  stage_ = stage;
  stage_started_ = seconds_now();
  const fs::path run = folder_.run(run_.name);
  const std::string threads = fmt::format("{}", threads_);
  std::vector<std::string> words;
  if (stage == Stage::train)
    words = {"train",     folder_.config(run_.name).string(),
             "--runs",    folder_.runs().string(),
             "--name",    run_.name,
             "--resume",  "auto",
             "--json",    "-q",
             "--threads", threads};
  else
    words =
        eval_words(plan_.study.eval, run, stage == Stage::choose ? plan_.chosen_on : plan_.study.eval.split, threads_);
  if (stage != Stage::train) words.emplace_back("--no-baselines");
  if (stage == Stage::choose) words.emplace_back("--no-training-choice");
  child_ = std::make_unique<Child>(words, ChildFiles{.out = output(stage), .err = folder_.work(run_.name) / "log.txt"});
}

std::optional<JobEnd> Job::poll(bool stopping) {
  const auto code = child_->ended();
  if (!code) return std::nullopt;
  stage_seconds_[static_cast<size_t>(stage_)] = seconds_now() - stage_started_;
  if (*code == static_cast<int>(ExitCode::locked)) return JobEnd::in_use;
  if (ended_by_request(*code)) return JobEnd::stopped;
  if (*code != 0) {
    keep_failure(*code);
    return JobEnd::failed;
  }
  if (stage_ == Stage::report) {
    keep_result();
    return JobEnd::done;
  }
  if (stopping) return JobEnd::stopped;
  begin(stage_ == Stage::train ? Stage::choose : Stage::report);
  return std::nullopt;
}

void Job::keep_failure(int code) const {
  json j = identity_of(plan_, run_);
  j["status"] = "failed";
  j["stage"] = stage_name();
  j["exit_code"] = code < 128 ? json(code) : json();
  j["signal"] = code < 128 ? json() : json(code - 128);
  j["last_lines"] = last_lines(folder_.work(run_.name) / "log.txt");
  write_object(folder_.failure(run_.name), j);
}

void Job::keep_result() const {
  const json trained = read_object(output(Stage::train));
  const ModelSize& size = plan_.arms[run_.arm].size;
  json j = identity_of(plan_, run_);
  j.update({{"schema_version", 1},
            {"status", "done"},
            {"steps", trained.at("steps")},
            {"tokens", trained.at("tokens")},
            {"parameters", size.parameters},
            {"train_flops_per_token", size.flops_per_token},
            {"state_bytes", size.state_bytes},
            {"config_sha256", read_object(RunFolder(folder_.run(run_.name)).provenance()).at("config_sha256")},
            {"data_order_sha256", data_order_hash(run_.config)},
            {"chosen_on", score_of(output(Stage::choose))},
            {"reported", score_of(output(Stage::report))}});
  json t = {
      {"run", run_.name},
      {"threads", threads_},
      {"host", host_name()},
      {"cpu_model", cpu_model()},
      {"ended_utc", utc_now()},
      {"elapsed_s", elapsed()},
      {"steps_s", trained.at("wall_s")},
      {"save_s", trained.at("save_s")},
      {"other_s", trained.at("other_s")},
      // Also what a run took that was stopped and went on.
      {"spent_s", std::max(elapsed(), trained.at("wall_s").get<double>() + trained.at("save_s").get<double>() +
                                          trained.at("other_s").get<double>() + stage_seconds_[1] + stage_seconds_[2])},
      {"train_s", stage_seconds_[0]},
      {"scores_s", stage_seconds_[1] + stage_seconds_[2]}};
  write_object(folder_.timing(run_.name), t);
  write_object(folder_.result(run_.name), j);
}

std::vector<std::string> eval_words(const StudyEvalOptions& how, const fs::path& run, const std::string& split,
                                    int threads) {
  std::vector<std::string> words = {"eval",   run.string(), "--split",   split,
                                    "--json", "-q",         "--threads", fmt::format("{}", threads)};
  const auto add = [&](const char* name, const std::string& value) { words.insert(words.end(), {name, value}); };
  if (!how.protocol.empty()) add("--protocol", how.protocol);
  if (how.tokens) add("--tokens", fmt::format("{}", *how.tokens));
  if (how.stride) add("--stride", fmt::format("{}", *how.stride));
  if (how.max_tokens > 0) add("--max-tokens", fmt::format("{}", how.max_tokens));
  return words;
}

std::string data_order_hash(const RunConfig& config) {
  ConfigNode data = *write_run_config(config).find("data");
  if (!config.data.task) data.set("corpus", path_text(path_of_text(config.data.corpus).stem()));
  data.set("batch", fmt::format("{}", config.train.batch));
  data.set("context", fmt::format("{}", config.train.context));
  return sha256(to_yaml(data));
}

}  // namespace effllm
