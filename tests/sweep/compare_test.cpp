// Tables of studies whose results are made up: what has a verdict, and why others have none.
#include "sweep/compare.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <map>

#include "sweep/kept_result.h"
#include "sweep/made_study.h"
#include "sweep/settle.h"
#include "sweep/speedup.h"

using namespace effllm;
using nlohmann::json;

TEST_CASE("compare: the value that is best on val is reported on test, in pairs, with a verdict") {
  const MadeStudy better(-0.1), worse(0.1), same(-0.0001);
  const ArmRow row = better.arm(1);
  CHECK(row.chosen == std::vector<std::pair<std::string, std::string>>{{"optim.lr", "0.002"}});
  CHECK(row.scores.size() == 4);
  CHECK(row.scores[0] == doctest::Approx(2 + 0.03 - 0.1 + 0.001));
  CHECK(row.chosen_on == doctest::Approx(row.reported.value - 0.01));
  CHECK(row.paired);
  CHECK(row.comparison.verdict == Verdict::better);
  CHECK(better.arm(0, "new").comparison.verdict == Verdict::worse);
  CHECK(better.arm(0).baseline);
  CHECK(worse.arm(1).comparison.verdict == Verdict::worse);
  const ArmRow undecided = same.arm(1);
  CHECK(undecided.comparison.verdict == Verdict::undecided);
  CHECK(undecided.detectable > 0.001);
  CHECK(undecided.detectable < 0.01);
  CHECK(message_of<ConfigError>([&] { better.arm(0, "knew"); }) ==
        "--baseline: the study has no arm knew. Did you mean `new`?");
}

TEST_CASE("compare: arms that read other data are no pairs, and Welch's test sees the spread of seeds") {
  MadeStudy s(-0.02);
  CHECK(s.arm(1).comparison.verdict == Verdict::better);
  for (auto& [run, r] : s.results)
    if (r["arm"] == "new") r["data_order_sha256"] = "another";
  const ArmRow row = s.arm(1);
  CHECK_FALSE(row.paired);
  CHECK(row.comparison.verdict == Verdict::undecided);
}

TEST_CASE("compare: accuracy is a column where all results of an arm have one") {
  MadeStudy s;
  for (auto& [run, r] : s.results)
    if (r["arm"] == "new") r["reported"]["accuracy"] = 0.5 + 0.1 * r["seed"].get<int>();
  const StudyTable t = compare_study(s.written(), "");
  CHECK_FALSE(t.arms[0].accuracy);
  REQUIRE(t.arms[1].accuracy);
  CHECK(t.arms[1].accuracy->value == doctest::Approx(0.75));
  const auto rows = rows_of(t);
  CHECK(rows[0][9] == "accuracy");
  CHECK(rows[1][9] == "-");
  CHECK(rows[2][9].starts_with("0.7500 ± 0.2"));
  CHECK(rows_of(t, true)[0][9] == "accuracy");
  CHECK(to_json(t)["arms"][1]["accuracy"].get<double>() == doctest::Approx(0.75));
  s.results.at("new.lr-0.002.s3")["reported"]["accuracy"] = nullptr;
  CHECK_FALSE(compare_study(s.written(), "").arms[1].accuracy);
}

TEST_CASE("compare: the loss by training's choice of tokens stands beside the causal one, and decides nothing") {
  MadeStudy s(-0.02);
  const ArmRow causal = s.arm(1);
  for (auto& [run, r] : s.results)
    if (r["arm"] == "new") r["reported"]["training_choice"] = score(1 + 0.1 * r["seed"].get<double>());
  const StudyTable t = compare_study(s.written(), "");
  CHECK_FALSE(t.arms[0].training_choice);
  REQUIRE(t.arms[1].training_choice);
  CHECK(t.arms[1].training_choice->value == doctest::Approx(1.25));
  CHECK(t.arms[1].comparison.difference.value == causal.comparison.difference.value);
  CHECK(t.arms[1].comparison.verdict == Verdict::better);
  CHECK(rows_of(t)[0][9] == "training's choice");
  CHECK(rows_of(t)[1][9] == "-");
  CHECK(rows_of(t)[2][9].starts_with("1.2500 ± 0.2"));
  CHECK(rows_of(t, true)[0][9] == "training_choice");
  CHECK(to_json(t)["arms"][1]["training_choice"].get<double>() == doctest::Approx(1.25));
}

TEST_CASE("compare: it fails closed") {
  MadeStudy edge;
  for (auto& [run, r] : edge.results)
    if (r["arm"] == "new" && r["point"]["optim.lr"] == "0.004") r["chosen_on"] = score(1);
  CHECK(edge.reason() == "the best optim.lr, 0.004, is at the edge of what was tried");
  CHECK(edge.arm(1).scores.size() == 4);
  CHECK(edge.arm(0, "new").comparison.reason.starts_with("the baseline has none: the best optim.lr"));

  // Where the option's own range ends, no wider grid exists.
  edge.plan["arms"][1]["ranges"] = {{"optim.lr", {0.004, nullptr}}};
  CHECK(edge.reason() == "the best optim.lr, 0.004, is at the edge of what was tried");
  edge.plan["arms"][1]["ranges"] = {{"optim.lr", {0, 0.004}}};
  CHECK(edge.arm(1).comparison.verdict == Verdict::better);
  CHECK(edge.arm(1).notes ==
        std::vector<std::string>{"the best optim.lr, 0.004, is the largest that there is: no edge"});

  MadeStudy missing;
  missing.results.erase("new.lr-0.001.s3");  // of a value that would not have been chosen
  CHECK(missing.reason() == "1 of 12 runs are missing");

  MadeStudy failed;
  failed.fail("new.lr-0.001.s3", 7);
  CHECK(failed.reason() == "new.lr-0.001.s3 failed");

  MadeStudy late;  // an evaluation that isn't finite is no divergence of training
  late.fail("new.lr-0.001.s3", 6, "eval --split test");
  CHECK(late.reason() == "new.lr-0.001.s3 failed");

  for (const auto& [key, text] :
       std::map<std::string, std::string>{{"protocol", "another protocol"}, {"split", "another split"}}) {
    MadeStudy mixed;
    mixed.results.at("new.lr-0.004.s1")["reported"][key] = "other";
    CHECK(mixed.reason().starts_with(text));
  }
  MadeStudy corpus;
  corpus.results.at("new.lr-0.002.s1")["chosen_on"]["data"]["hash"] = "other";
  CHECK(corpus.reason().starts_with("another corpus than the baseline's"));
  MadeStudy bounds;
  for (auto& [run, r] : bounds.results)
    if (r["arm"] == "new") r["chosen_on"]["bound"] = r["reported"]["bound"] = true;
  CHECK(bounds.reason().starts_with("another bounds and likelihoods"));
  CHECK(bounds.arm(1).bound);
  bounds.journals(2);
  const StudyTable t = compare_study(bounds.written(), "");
  const ArmSpeedups all = speedups_of(t, curves_of(bounds.written(), read_plan(bounds.written()), t));
  for (const Speedup& s : all.at(1))
    CHECK(s.none.starts_with("another bounds and likelihoods"));  // nor do their curves tell who is faster
}

TEST_CASE("compare: an arm that trained on more or fewer tokens than the baseline is said to") {
  MadeStudy s;
  CHECK(s.arm(1).notes.empty());
  for (auto& [run, r] : s.results)
    if (r["arm"] == "new") r["tokens"] = 2500;
  CHECK(s.arm(1).notes == std::vector<std::string>{"trained on 2500 tokens, the baseline on 5000 tokens"});
}

TEST_CASE("compare: a value that diverges is out of the choice, is said, and is the edge of what was tried") {
  MadeStudy s;
  s.fail("new.lr-0.004.s2", 6);
  const ArmRow row = s.arm(1);
  CHECK(row.notes == std::vector<std::string>{"1 of 4 seeds diverged at optim.lr 0.004"});
  CHECK(row.comparison.verdict == Verdict::better);
  for (const char* lr : {"0.001", "0.002"}) s.fail(fmt::format("new.lr-{}.s1", lr), 6);
  CHECK(s.reason() == "every run diverged");
}

TEST_CASE("compare: rows for people and for programs, with the texts beside them") {
  const MadeStudy s;
  const StudyFolder f = s.written();
  spill(f.baselines(), json{{"bytes", 20},
                            {"characters", 10},
                            {"baselines",
                             {{{"name", "gzip"}, {"before", "nothing"}, {"bits_per_byte", 1.5}},
                              {{"name", "gzip"}, {"before", "train"}, {"bits_per_byte", 1.25}}}},
                            {"left_out", {{{"name", "PPMd"}, {"reason", "7z is missing"}}}}}
                           .dump());
  const StudyTable t = compare_study(f, "");
  CHECK(t.unit == "bits/char");
  REQUIRE(t.texts.size() == 1);
  CHECK(t.texts[0].before == "train");
  CHECK(t.texts[0].value == 2.5);
  for (const bool exact : {false, true}) {
    const auto rows = rows_of(t, exact);
    REQUIRE(rows.size() == 4);
    for (const auto& r : rows) CHECK(r.size() == rows[0].size());
    CHECK(rows[3][8] == "2.5" + std::string(exact ? "" : "000"));
  }
  CHECK(rows_of(t)[0][8] == "test (bits/char)");
  CHECK(has(rows_of(t)[2][9], "-0.09"));
  CHECK(rows_of(t)[2].back() == "better");
  CHECK(to_json(t)["arms"][1]["verdict"] == "better");
  CHECK(to_json(t)["arms"][0]["difference"].is_null());
  CHECK(has(footnotes(t)[1], "paired by seed, after Holm"));
  CHECK(footnotes(t).back() == "PPMd: 7z is missing");
  spill(f.result("new.lr-0.004.s1"), "{\"arm\": 3}");
  CHECK(has(message_of<DataError>([&] { compare_study(f, ""); }), "damaged or of another version"));
  CHECK(has(message_of<DataError>([&] { compare_study(StudyFolder("nowhere"), ""); }), "no folder of a study"));
}

TEST_CASE("compare: files of runs that are damaged are told by name, all of them, with what to do") {
  MadeStudy s;
  s.fail("new.lr-0.004.s2", 6);
  const StudyFolder f = s.written();
  const std::vector<json> runs = s.plan["runs"];
  require_kept(f, runs);
  const std::string whole = slurp(f.result("new.lr-0.004.s1"));
  spill(f.result("new.lr-0.004.s1"), whole.substr(0, whole.size() / 2));
  spill(f.result("plain.lr-0.001.s1"), slurp(f.result("plain.lr-0.001.s2")));
  json older = s.results.at("plain.lr-0.001.s3");
  older.erase("reported");
  spill(f.result("plain.lr-0.001.s3"), older.dump());
  spill(f.failure("new.lr-0.004.s2"), "");
  const std::string all = message_of<DataError>([&] { require_kept(f, runs); });
  for (const char* part :
       {"results/new.lr-0.004.s1.json is damaged or of another version: it is not a JSON object. Remove it: ",
        "results/plain.lr-0.001.s1.json is damaged or of another version: its run is not that of the run",
        "results/plain.lr-0.001.s3.json is damaged or of another version: it has no reported",
        "failed/new.lr-0.004.s2.json is damaged"})
    CHECK_MESSAGE(has(all, part), all);
  CHECK(has(message_of<DataError>([&] { compare_study(f, ""); }), "results/plain.lr-0.001.s1.json is damaged"));
}

TEST_CASE("compare: one seed has no interval, and no text says otherwise") {
  MadeStudy s;
  s.plan["seeds"] = 1;
  std::erase_if(s.results, [](const auto& r) { return r.second["seed"] != 1; });
  json first = json::array();
  for (const json& r : s.plan["runs"])
    if (r["seed"] == 1) first.push_back(r);
  s.plan["runs"] = first;
  s.journals();
  const StudyTable t = compare_study(s.written(), "");
  CHECK(t.arms[1].comparison.reason == "one seed tells nothing of the spread");
  std::vector<std::string> lines = footnotes(t);
  const ArmSpeedups speedups = speedups_of(t, curves_of(s.written(), read_plan(s.written()), t));
  CHECK(speedups.at(1).at(0).none.empty());
  for (const std::string& line : footnotes(t, speedups)) lines.push_back(line);
  for (const std::string& line : lines) CHECK_FALSE(has(line, "95 %"));
  CHECK(has(lines[0], "of one seed, which has no interval"));
  CHECK_FALSE(has(rows_of(t)[1][8], "±"));
}
