#include "sweep/step_time.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "base/json.h"
#include "store/file.h"
#include "sweep/child.h"
#include "train/signals.h"

namespace effllm {
namespace {

namespace fs = std::filesystem;

constexpr auto kPause = std::chrono::milliseconds(10);
constexpr int kFew = 4, kMany = 500;  // steps
constexpr double kLong = 1;           // seconds

std::optional<StepTime> read_time(const fs::path& file) {
  const nlohmann::json j = nlohmann::json::parse(read_file(file, 1 << 20), nullptr, false);
  if (!j.is_object() || !j.contains("seconds") || !j.contains("age_s")) return std::nullopt;
  std::vector<double> s = j.at("seconds");
  if (s.size() < 4) return std::nullopt;
  double sum = 0;
  for (const double v : s) sum += v;
  std::sort(s.begin() + 1, s.end());  // the first takes memory
  return StepTime{.quartile = s[1 + (s.size() - 1) / 4],
                  .mean = (sum - s[0]) / static_cast<double>(s.size() - 1),
                  .start = std::max(0.0, j.at("age_s").get<double>() - sum)};
}

// The programs of one round; `steps` of each configuration, none of those where it is 0.
void run_round(const std::vector<ConfigNode>& configs, const std::vector<int>& steps, const fs::path& scratch, int jobs,
               int threads, std::vector<std::optional<StepTime>>& times) {
  struct Working {
    size_t which;
    std::unique_ptr<Child> child;
  };
  std::vector<Working> working;
  const auto file = [&](size_t i, const char* what) { return scratch / fmt::format("steps.{}.{}", i, what); };
  for (size_t next = 0; next < configs.size() || !working.empty();) {
    if (Signals::stop_requested()) return;
    while (next < configs.size() && working.size() < static_cast<size_t>(jobs)) {
      const size_t i = next++;
      if (steps[i] == 0) continue;
      write_file_atomic(file(i, "yaml"), to_yaml(configs[i]));
      write_file_atomic(file(i, "steps"), fmt::format("steps {}\n", steps[i]));
      working.push_back({i, std::make_unique<Child>(
                                std::vector<std::string>{"bench", "train", file(i, "yaml").string(), "--follow",
                                                         "--threads", fmt::format("{}", threads)},
                                ChildFiles{.in = file(i, "steps"), .out = file(i, "json"), .err = scratch / "log"})});
    }
    std::erase_if(working, [&](Working& w) {
      const auto code = w.child->ended();
      if (code == 0) times[w.which] = read_time(file(w.which, "json"));
      return code.has_value();
    });
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

std::vector<std::optional<StepTime>> time_steps(const std::vector<ConfigNode>& configs, const fs::path& scratch,
                                                int jobs, int threads) {
  std::vector<std::optional<StepTime>> times(configs.size());
  std::vector<int> steps(configs.size(), kFew);
  run_round(configs, steps, scratch, jobs, threads, times);
  for (size_t i = 0; i < configs.size(); ++i) {
    const double once = times[i] ? times[i]->quartile : kLong;
    steps[i] = kFew * once < kLong ? std::clamp(static_cast<int>(kLong / std::max(once, 1e-6)), kFew, kMany) : 0;
  }
  run_round(configs, steps, scratch, jobs, threads, times);
  return times;
}

ScratchFolder::ScratchFolder() {
  static int made = 0;
  path_ = fs::temp_directory_path() / fmt::format("effllm-sweep-{}-{}", getpid(), made++);
  fs::create_directories(path_);
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace effllm
