// A folder with a tiny corpus, in which studies are planned, and runs end as a test wants.
#pragma once
#include <string>

#include "support/messages.h"
#include "support/tiny_run.h"
#include "sweep/job.h"
#include "sweep/made_study.h"
#include "sweep/plan.h"

namespace effllm::test {

struct PlanWorld {
  TinyFolder t{"plan"};
  StudyFolder folder{t / "study"};

  Study study(const std::string& text) const { return read_study(t.folder.put("study.yaml", text)); }
  Plan plan(const std::string& text) const { return make_plan(study("base: c.yaml\n" + text)); }
  std::string refused(const std::string& text) const {
    return message_of<ConfigError>([&] { folder.take(plan(text)); });
  }
  // As if a run had ended with this loss.
  void end(const Plan& p, const PlannedRun& r, double bits) const {
    nlohmann::json j = identity_of(p, r);
    j.update({{"tokens", 1},
              {"data_order_sha256", data_order_hash(r.config)},
              {"chosen_on", score(bits)},
              {"reported", score(bits)}});
    write_object(folder.result(r.name), j);
  }
};

inline constexpr const char* kArms = "arms:\n  plain: {}\n  wide: {model.d_model: 32}\n";

}  // namespace effllm::test
