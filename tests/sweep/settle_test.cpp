// Studies of which not all seeds choose.
#include "sweep/settle.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "sweep/arm_runs.h"
#include "sweep/plan_world.h"

using namespace effllm;
using test::kArms;
using test::PlanWorld;

TEST_CASE("plan: by tune_seeds the first seeds choose, and of the others only what they have chosen is wanted") {
  const PlanWorld w;
  const Plan p = w.plan(std::string(kArms) + "seeds: 3\ntune: {optim.lr: [1e-3, 1e-2]}\ntune_seeds: 1\n");
  REQUIRE(p.runs.size() == 12);  // that there could be
  CHECK(p.count() == 8);
  w.folder.take(p);
  const auto of = [&](const std::string& name) {
    return needs_of(
        w.folder, to_json(p))[static_cast<size_t>(std::ranges::find(p.runs, name, &PlannedRun::name) - p.runs.begin())];
  };
  const auto end = [&](const std::string& name, double bits) {
    w.end(p, *std::ranges::find(p.runs, name, &PlannedRun::name), bits);
  };
  const auto fail = [&](const std::string& name, int code) {
    nlohmann::json j = identity_of(p, *std::ranges::find(p.runs, name, &PlannedRun::name));
    j.update({{"exit_code", code}, {"stage", "train"}, {"signal", nullptr}, {"last_lines", nlohmann::json::array()}});
    write_object(w.folder.failure(name), j);
  };
  CHECK(read_plan(w.folder)["runs"].size() == 8);
  CHECK(of("plain.lr-1e-2.s1") == Need::wanted);
  CHECK(of("plain.lr-1e-2.s2") == Need::open);
  end("plain.lr-1e-3.s1", 2), end("wide.lr-1e-3.s1", 2);
  CHECK(of("plain.lr-1e-2.s2") == Need::open);
  CHECK(read_plan(w.folder)["runs"][4]["run"] == "plain.(chosen).s2");
  end("plain.lr-1e-2.s1", 1.5);
  CHECK(of("plain.lr-1e-2.s2") == Need::wanted);
  CHECK(of("plain.lr-1e-3.s2") == Need::unwanted);
  CHECK(of("wide.lr-1e-3.s2") == Need::open);
  CHECK(read_plan(w.folder)["runs"][4]["run"] == "plain.lr-1e-2.s2");
  CHECK(read_plan(w.folder)["runs"].size() == 8);
  // A later seed that is better with another value changes nothing.
  end("plain.lr-1e-2.s2", 9);
  CHECK(of("plain.lr-1e-2.s3") == Need::wanted);
  fail("wide.lr-1e-2.s1", 3);
  CHECK(of("wide.lr-1e-3.s2") == Need::blocked);
  fail("wide.lr-1e-2.s1", 6);  // diverged: the other value is what is left
  CHECK(of("wide.lr-1e-3.s2") == Need::wanted);
  CHECK(of("wide.lr-1e-2.s2") == Need::unwanted);
  // What was chosen has diverged with another seed: nothing else is chosen in its place.
  end("plain.lr-1e-2.s3", 1.5), fail("wide.lr-1e-3.s2", 6), end("wide.lr-1e-3.s3", 2);
  const StudyTable t = compare_study(w.folder, "");
  CHECK(t.arms[0].scores == std::vector<double>{1.5, 9, 1.5});
  CHECK(t.arms[0].chosen_on == doctest::Approx(4));
  CHECK(t.arms[1].comparison.reason == kChosenDiverged);
  CHECK(t.arms[1].scores.empty());
}

TEST_CASE("plan: tune_seeds without tune, or of more seeds than there are, is refused") {
  const PlanWorld w;
  CHECK(has(message_of<ConfigError>([&] { w.plan(std::string(kArms) + "tune_seeds: 1\n"); }),
            "`tune_seeds` is for `tune`"));
  CHECK(has(message_of<ConfigError>(
                [&] { w.plan(std::string(kArms) + "seeds: 2\ntune: {optim.lr: [1e-3, 1e-2]}\ntune_seeds: 3\n"); }),
            "`tune_seeds` 3 is more than the seeds of the study, 2"));
}

TEST_CASE("plan: what chooses is told by its seeds") {
  StudyTable t;
  t.seeds = 4;
  for (const auto& [seeds, told] : {std::pair{1, "seed 1"}, {2, "the mean of seeds 1 to 2"}, {4, "the mean"}}) {
    t.tune_seeds = seeds;
    CHECK(choosers(t) == told);
  }
  t.seeds = t.tune_seeds = 1;
  CHECK(choosers(t) == "the score");
}
