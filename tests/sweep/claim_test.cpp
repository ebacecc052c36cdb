// Claims: what may be written, and how they are judged.
#include "sweep/claim.h"

#include <cmath>

#include "config/yaml.h"
#include "sweep/judge.h"
#include "sweep/made_study.h"
#include "sweep/study.h"

using namespace effllm;

namespace {

Study read(const std::string& claims) {
  const TempFolder folder("claims");
  return read_study(folder.put("study.yaml", "base: b.yaml\narms: {plain: , new: }\n" + claims));
}

std::string wrong(const std::string& claims) {
  return message_of<ConfigError>([&] { read(claims); });
}

// The verdict on the made study with this claim.
JudgedClaim judge(MadeStudy& s, const std::string& claim) {
  const Study written = read("claims: [{source: a, statement: b, arms: [new, plain], " + claim + "}]\n");
  s.plan["claims"] = {{{"claim", to_flow_yaml(write(written.claims.at(0)))}, {"after_runs", 0}}};
  return judge_claims(s.written()).at(0);
}

}  // namespace

TEST_CASE("claims: a claim says source, statement, arms and what it predicts") {
  const Study s = read(
      "claims:\n"
      "- {name: less, source: paper, statement: It is better., arms: [new, plain], predicts: lower, margin: 0.02}\n"
      "- {source: paper, statement: It is as good., arms: [new, plain], metric: bits_per_byte, predicts: within, "
      "margin: 0.1}\n"
      "- {source: paper, statement: It is fast., arms: [new, plain], metric: speedup_flops, ratio: [1.5, 3], level: "
      "0.9}\n"
      "confirm: 2\n");
  REQUIRE(s.claims.size() == 3);
  CHECK(s.confirm == 2);
  CHECK(s.claims[0].prediction() == "bits_per_char of new is lower than that of plain by more than 0.02");
  CHECK(s.claims[1].name == "claim-2");
  CHECK(s.claims[1].prediction() == "bits_per_byte of new is within 0.1 of that of plain");
  CHECK(s.claims[2].prediction() == "speedup_flops of new over plain: 1.5 to 3");
  CHECK(s.claims[2].level == 0.9);
  CHECK(s.claims[0].region().high == -0.02);
  CHECK(std::isinf(s.claims[0].region().low));
  CHECK(s.claims[1].region().low == -0.1);
}

TEST_CASE("claims: what is wrong is told with its place, several at once") {
  const std::string all = wrong(
      "claims:\n"
      "- {source: a, statement: b, arms: [knew, plain], predicts: lower}\n"
      "- {statement: b, arms: [new], predicts: lower, ratio: [1, 2]}\n"
      "- {source: a, statement: b, arms: [new, plain], predicts: better}\n"
      "- {source: a, statement: b, arms: [new, new], predicts: within}\n"
      "- {source: a, statement: b, arms: [new, plain], ratio: [2, 1], margin: 1}\n"
      "- {source: a, statement: b, arms: [new, plain], metric: speedup_tokens, predicts: higher}\n");
  for (const std::string part : {"study.yaml:4:3: error: claim claim-1: the study has no arm knew. Did you mean `new`?",
                                 "study.yaml:5:3: error: claim claim-2: it needs `source`", "claim-2: it needs `arms`",
                                 "claim-2: it needs one of `predicts` and `ratio`",
                                 "claim-3: `predicts` must be one of lower, higher, within, not `better`",
                                 "claim-4: an arm is held against itself", "claim-4: `within` needs `margin`",
                                 "claim-5: `ratio` is the least and the largest", "claim-5: `margin` is of",
                                 "claim-6: speedup_tokens is a factor"})
    CHECK_MESSAGE(has(all, part), all);
  CHECK(has(wrong("confirm: 2\n"), "`confirm` is for `claims`"));
  CHECK(has(wrong("claims:\n- {name: x, source: a, statement: b, arms: [new, plain], predicts: lower}\n"
                  "- {name: x, source: a, statement: b, arms: [new, plain], predicts: lower}\n"),
            "two claims are called x"));
}

TEST_CASE("claims: the whole interval decides") {
  const ClaimOptions::Region region{-1, 1};
  CHECK(judged(region, -0.5, 0.5) == ClaimVerdict::reproduced);
  CHECK(judged(region, -1, 1) == ClaimVerdict::reproduced);
  CHECK(judged(region, 1.1, 2) == ClaimVerdict::not_reproduced);
  CHECK(judged(region, -3, -1.5) == ClaimVerdict::not_reproduced);
  CHECK(judged(region, 0.5, 1.5) == ClaimVerdict::undecided);
  CHECK(judged(region, -9, 9) == ClaimVerdict::undecided);
}

TEST_CASE("claims: held against the scores of the runs that were chosen") {
  MadeStudy s(-0.1);
  const auto verdict = [&](const std::string& claim) { return judge(s, claim).found.verdict; };
  CHECK(verdict("predicts: lower") == ClaimVerdict::reproduced);
  CHECK(verdict("predicts: lower, margin: 0.09") == ClaimVerdict::reproduced);
  CHECK(verdict("predicts: lower, margin: 0.0991") == ClaimVerdict::undecided);
  CHECK(verdict("predicts: lower, margin: 0.11") == ClaimVerdict::not_reproduced);
  CHECK(verdict("predicts: higher") == ClaimVerdict::not_reproduced);
  CHECK(verdict("predicts: within, margin: 0.15") == ClaimVerdict::reproduced);
  CHECK(verdict("predicts: within, margin: 0.05") == ClaimVerdict::not_reproduced);
  CHECK(verdict("ratio: [0.9, 0.97]") == ClaimVerdict::reproduced);
  CHECK(verdict("ratio: [1, 2]") == ClaimVerdict::not_reproduced);
  CHECK(verdict("metric: bits_per_byte, predicts: lower, margin: 0.045") == ClaimVerdict::reproduced);
  CHECK(verdict("metric: bits_per_byte, predicts: lower, margin: 0.06") == ClaimVerdict::not_reproduced);
  const Finding f = judge(s, "predicts: lower").found;
  CHECK(f.value == doctest::Approx(-0.1 + 0.001));
  CHECK(f.low < f.value);
  CHECK(f.value < f.high);
  CHECK(f.seeds == 4);
  // A wider level is a wider interval.
  CHECK(judge(s, "predicts: lower, level: 0.999").found.low < f.low);
  for (auto& [run, r] : s.results)
    r["reported"]["accuracy"] =
        (r["arm"] == "new" ? 0.9 : 0.5) + 0.01 * (r["seed"].get<int>() * (r["arm"] == "new" ? 1 : 2));
  CHECK(judge(s, "metric: accuracy, predicts: higher, margin: 0.3").found.verdict == ClaimVerdict::reproduced);
  CHECK(judge(s, "metric: accuracy, ratio: [3, 4]").found.verdict == ClaimVerdict::not_reproduced);
  CHECK(judge(s, "metric: nats_per_token, predicts: lower").found.reason == "results have no nats_per_token");
}

TEST_CASE("claims: of sizes there is no interval, of speedups that over seeds") {
  MadeStudy s(-0.1);
  s.plan["arms"][1]["state_bytes"] = 16;
  CHECK(judge(s, "metric: state_bytes, ratio: [0.2, 0.3]").found.verdict == ClaimVerdict::reproduced);
  CHECK(judge(s, "metric: state_bytes, predicts: higher").found.verdict == ClaimVerdict::not_reproduced);
  CHECK(judge(s, "metric: parameters, predicts: within, margin: 1").found.verdict == ClaimVerdict::reproduced);
  s.journals(2);  // exp(0.1 / 0.2) / 2 of the tokens
  CHECK(judge(s, "metric: speedup_tokens, ratio: [0.7, 0.95]").found.verdict == ClaimVerdict::reproduced);
  CHECK(judge(s, "metric: speedup_tokens, ratio: [1, 9]").found.verdict == ClaimVerdict::not_reproduced);
  MadeStudy few(-0.1);
  few.journals(2, 1);
  CHECK(has(judge(few, "metric: speedup_tokens, ratio: [1, 9]").found.reason, "fewer than two evaluations"));
}

TEST_CASE("claims: they fail closed, as the table does") {
  MadeStudy missing;
  missing.results.erase("new.lr-0.001.s3");
  const JudgedClaim j = judge(missing, "predicts: lower");
  CHECK(j.found.verdict == ClaimVerdict::none);
  CHECK(j.found.reason == "1 of 12 runs are missing");
  MadeStudy baseline;
  baseline.results.erase("plain.lr-0.001.s3");
  CHECK(has(judge(baseline, "predicts: lower").found.reason, "the baseline has none"));
}

TEST_CASE("claims: held-out seeds judge alone, and late claims are no predictions") {
  MadeStudy s(-0.1);
  nlohmann::json held = {{"seeds", 2},
                         {"tune", {{{"key", "optim.lr"}, {"values", nlohmann::json::array()}}}},
                         {"runs", nlohmann::json::array()}};
  for (const char* arm : {"plain", "new"})
    for (int seed : {1001, 1002}) {
      const std::string run = fmt::format("{}.lr-0.002.s{}", arm, seed);
      nlohmann::json r = {{"run", run}, {"arm", arm}, {"point", {{"optim.lr", "0.002"}}}, {"seed", seed}};
      held["runs"].push_back(r);
      r.update({{"tokens", 5000},
                {"data_order_sha256", fmt::format("order {}", seed)},
                {"chosen_on", score(2)},
                {"reported", score(std::string(arm) == "new" ? 2.1 + 0.001 * (seed % 2) : 2)}});
      s.results[run] = r;
    }
  spill(s.folder / "confirm.json", held.dump());
  const JudgedClaim j = judge(s, "predicts: lower, margin: 0.01");
  CHECK(j.found.verdict == ClaimVerdict::reproduced);
  REQUIRE(j.held_out);
  CHECK(j.confirmed.verdict == ClaimVerdict::not_reproduced);
  CHECK(j.confirmed.value == doctest::Approx(0.1005));
  CHECK(j.confirmed.seeds == 2);
  const auto rows = rows_of({j});
  REQUIRE(rows.size() == 2);
  CHECK(rows[1][3] == "reproduced");
  CHECK(rows[1][5] == "not reproduced");
  CHECK(to_json({j})[0]["confirmed"]["verdict"] == "not reproduced");
  CHECK_FALSE(judge(s, "metric: state_bytes, predicts: lower").held_out);
  JudgedClaim late = j;
  late.date = {3, 24};
  CHECK(rows_of({late})[1][3] == "reproduced (written after 3 of 24 runs had ended: not a prediction)");
  CHECK(rows_of({late})[1][5] == "not reproduced");  // of seeds that came after it
  late.held_out_date = {1, 4};
  CHECK(rows_of({late})[1][5] == "not reproduced (written after 1 of 4 runs had ended: not a prediction)");
  CHECK(to_json({late})[0]["is_prediction"] == false);
  CHECK(to_json({j})[0]["is_prediction"] == true);
  s.results.erase("new.lr-0.002.s1002");
  std::filesystem::remove(StudyFolder(s.folder.path).result("new.lr-0.002.s1002"));
  CHECK(judge(s, "predicts: lower").confirmed.reason == "1 of 2 runs are missing");
  // An arm that came later has no such seeds yet.
  nlohmann::json without = held;
  without["runs"].erase(without["runs"].begin() + 2, without["runs"].end());
  spill(s.folder / "confirm.json", without.dump());
  CHECK(has(judge(s, "predicts: lower").confirmed.reason, "no runs of these seeds (effllm sweep --confirm)"));
}

TEST_CASE("claims: held-out seeds of a study that has no verdict have none, for its reason") {
  MadeStudy s(-0.1);
  nlohmann::json held = {{"seeds", 2}, {"tune", nlohmann::json::array()}, {"runs", nlohmann::json::array()}};
  for (auto& [run, r] : s.results)
    if (r["arm"] == "new" && r["point"]["optim.lr"] == "0.004") r["chosen_on"] = score(1);
  spill(s.folder / "confirm.json", held.dump());
  const JudgedClaim j = judge(s, "predicts: lower");
  CHECK(j.confirmed.verdict == ClaimVerdict::none);
  CHECK(j.confirmed.reason == j.found.reason);
  CHECK(has(j.confirmed.reason, "edge of what was tried"));
}
