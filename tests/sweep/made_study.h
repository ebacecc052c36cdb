// A study whose results are made up, as its folder would have them.
#pragma once
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>

#include "base/json.h"
#include "eval/metrics.h"
#include "store/journal.h"
#include "store/run_folder.h"
#include "store/temp_folder.h"
#include "sweep/compare.h"

namespace effllm {

inline nlohmann::json score(double bits) {
  return {{"split", "test"},       {"protocol", "windows of 8 tokens"}, {"corpus", "own"}, {"data", {{"hash", "h"}}},
          {"bits_per_char", bits}, {"bits_per_byte", bits / 2},         {"bound", false}};
}

inline constexpr Metric kTokens{"tokens", "tokens", "tokens trained on"}, kSeconds{"wall_s", "s", "time of steps"};

// Two arms, three values of optim.lr, four seeds; at 0.002 the least loss on val.
struct MadeStudy {
  static inline int count = 0;
  TempFolder folder{"compare_" + std::to_string(count++)};
  nlohmann::json plan = {{"name", "made"},
                         {"seeds", 4},
                         {"chosen_on", "val"},
                         {"split", "test"},
                         {"eval", "{}"},
                         {"tune", {{{"key", "optim.lr"}, {"values", {"0.001", "0.002", "0.004"}}}}},
                         {"arms", nlohmann::json::array()},
                         {"runs", nlohmann::json::array()}};
  std::map<std::string, nlohmann::json> results;

  explicit MadeStudy(double effect = -0.1) {
    for (const char* arm : {"plain", "new"}) {
      plan["arms"].push_back({{"name", arm},
                              {"overrides", {{{"key", "optim.beta2"}, {"value", arm}}}},
                              {"matched", ""},
                              {"parameters", 1000},
                              {"train_flops_per_token", 6000.0},
                              {"state_bytes", 64}});
      for (int seed = 1; seed <= 4; ++seed)
        for (const char* lr : {"0.001", "0.002", "0.004"}) {
          const bool is_new = std::string(arm) == "new";
          const double bits =
              2 + 0.03 * seed + (std::string(lr) == "0.002" ? 0 : 0.05) + (is_new ? effect + 0.001 * (seed % 3) : 0);
          const std::string run = fmt::format("{}.lr-{}.s{}", arm, lr, seed);
          nlohmann::json r = {{"run", run}, {"arm", arm}, {"point", {{"optim.lr", lr}}}, {"seed", seed}};
          plan["runs"].push_back(r);
          r.update({{"tokens", 5000},
                    {"data_order_sha256", fmt::format("order {}", seed)},
                    {"chosen_on", score(bits - 0.01)},
                    {"reported", score(bits)}});
          results[run] = r;
        }
    }
  }
  StudyFolder written() const {
    const StudyFolder f(folder.path);
    spill(f.plan(), plan.dump());
    for (const auto& [run, r] : results) spill(f.result(run), r.dump());
    return f;
  }
  void fail(const std::string& run, int code, const std::string& stage = "train") {
    nlohmann::json f = results.at(run);
    f.update({{"stage", stage}, {"exit_code", code}, {"signal", nullptr}, {"last_lines", {"why"}}});
    results.erase(run);
    std::filesystem::remove(StudyFolder(folder.path).result(run));
    spill(StudyFolder(folder.path).failure(run), f.dump());
  }
  ArmRow arm(size_t i, const std::string& baseline = "") const { return compare_study(written(), baseline).arms.at(i); }
  std::string reason() const {
    const ArmRow a = arm(1);
    CHECK(a.comparison.verdict == Verdict::none);
    return a.comparison.reason;
  }
  // A journal of each run: evaluations at steps 10, 20 ... of a loss that falls to that of its result, `behind` times
  // later for `new`.
  void journals(double behind = 1, int evaluations = 8) const {
    const StudyFolder f(folder.path);
    for (const auto& [run, r] : results) {
      const double last = r["chosen_on"]["bits_per_char"], slow = r["arm"] == "new" ? behind : 1;
      std::filesystem::remove_all(f.run(run));
      std::filesystem::create_directories(f.run(run));
      Journal journal(RunFolder(f.run(run)).journal());
      const auto row = [&](int step) {
        const double at = 100.0 * step, full = 1000.0 * evaluations;
        return std::vector<Measured>{kLossMetrics.bits_per_character(last + 0.2 * std::log(slow * full / at)),
                                     kTokens(at), kSeconds(0.01 * step)};
      };
      journal.reports(row(10));
      journal.header(run, "hash");
      for (int e = 1; e <= evaluations; ++e) journal.row("val", 10 * e, row(10 * e));
    }
  }
};

}  // namespace effllm
