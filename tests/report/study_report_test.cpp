// The page of a study whose results are made up.
#include "report/study_report.h"

#include "sweep/made_study.h"

using namespace effllm;

namespace {

std::string page_of(const MadeStudy& s) {
  const StudyFolder f = s.written();
  s.journals();
  return study_report(f, compare_study(f, ""));
}

}  // namespace

TEST_CASE("report: a study's page has verdicts, pictures, curves, choices and settings") {
  const MadeStudy s(-0.1);
  const std::string page = page_of(s);
  for (const std::string text :
       {"<h1>made</h1>", "2 arms, 4 seeds each; optim.lr chosen for each arm among 3 values by the mean on val",
        "<li class=\"better\"><b>new</b> <span class=\"verdict\">better</span> -0.09",
        "bits/char against plain, between -0.1", "<h2>Means and differences</h2>", "stroke for each seed",
        "<h2>Curves</h2>", "Against FLOPs", "<h2>Effective speedup</h2>", "<h2>What was chosen among</h2>",
        "optim.lr 0.002</th>", "chosen: 2.0", "24 of 24 runs are done",
        "n-gram models and compressors on the same text were not measured", "optim.beta2: new", "id=\"data\""})
    CHECK_MESSAGE(has(page, text), text);
  CHECK((page == page_of(s)));
  CHECK_FALSE(has(page, "Nothing failed"));
  spill(
      StudyFolder(s.folder.path).baselines(),
      R"({"bytes": 2, "characters": 1, "left_out": [], "baselines": [{"name": "gzip", "before": "train", "bits_per_byte": 1.5}]})");
  const std::string whole = page_of(s);
  for (const std::string text : {"Nothing failed, and every arm has a verdict", "gzip, after train</th>", ">3.0000<"})
    CHECK_MESSAGE(has(whole, text), text);
  const size_t at = page.find("id=\"data\">") + 10;
  const nlohmann::json data = nlohmann::json::parse(page.substr(at, page.find("</script>", at) - at));
  REQUIRE(data["budgets"].size() == 3);
  CHECK(data["budgets"][1]["name"] == "FLOPs");
  CHECK(data["budgets"][1]["arms"][0]["x"][7] == 8000 * 6000.0);
}

TEST_CASE("report: scores and accuracies stand over bytes of state, where arms have different ones") {
  MadeStudy s(-0.1);
  CHECK_FALSE(has(page_of(s), "Against the state"));  // all have 64
  s.plan["arms"][1]["state_bytes"] = 4096;
  const std::string scores = page_of(s);
  for (const std::string text : {"<h2>Against the state</h2>", "Score against bytes of state",
                                 ">bytes of state after a row", "<li class=\"c0\">plain</li><li class=\"c1\">new</li>"})
    CHECK_MESSAGE(has(scores, text), text);
  CHECK_FALSE(has(scores, "Accuracy against"));
  for (auto& [run, r] : s.results) r["reported"]["accuracy"] = 0.5 + 0.1 * r["seed"].get<int>();
  const std::string both = page_of(s);
  CHECK(has(both, "Accuracy against bytes of state"));
  CHECK(has(both, ">accuracy on test<"));
  const size_t at = scores.find("<h2>Against the state");
  const std::string section = scores.substr(at, scores.find("</section>", at) - at);
  for (const char* part : {"class=\"interval c0\"", "class=\"mark c0\"", "class=\"interval c1\"", "class=\"mark c1\""})
    CHECK_MESSAGE(has(section, part), part);
}

TEST_CASE("report: what failed, is missing or has no verdict is said") {
  MadeStudy s(-0.1);
  s.fail("new.lr-0.004.s2", 6);
  s.results.erase("plain.lr-0.001.s1");
  const std::string page = page_of(s);
  for (const std::string text :
       {"22 of 24 runs are done", "new.lr-0.004.s2: train ended with exit code 6: why", "plain.lr-0.001.s1: waiting",
        "plain has no verdict: 1 of 12 runs are missing", "new has no verdict: the baseline has none", ">diverged<",
        ">missing<", "<b>plain</b> has no curve: 1 of 12 runs are missing"})
    CHECK_MESSAGE(has(page, text), text);
  CHECK_FALSE(has(page, "every arm has a verdict"));
}

TEST_CASE("report: an arm that has diverged and has numbers stands beyond the axes, and that is said") {
  MadeStudy s(-0.1);
  CHECK_FALSE(has(page_of(s), "beyond the axis"));
  for (auto& [run, r] : s.results)
    if (r["arm"] == "new" && r["seed"] == 2) r["chosen_on"] = r["reported"] = score(12345);
  const std::string page = page_of(s);
  CHECK(has(page, "a stroke for each seed; an arrow points to what lies beyond the axis"));
  CHECK(has(page, "<p>new goes up to 1.235e+04 bits/char, beyond the axis: an arrow stands where its mean leaves it."));
  CHECK(has(page, "mark beyond c1"));
  CHECK(has(page, "\"most\":16.0"));  // two bytes a character
}

TEST_CASE("report: names, values and files that look like markup are text") {
  MadeStudy s;
  const std::string evil = "</script><script>alert(1)</script>\"'&<b>";
  s.plan["name"] = evil;
  s.plan["arms"][1]["matched"] = evil;
  s.plan["arms"][1]["overrides"][0]["value"] = evil;
  for (auto& [run, r] : s.results) r["reported"]["corpus"] = r["reported"]["protocol"] = evil;
  spill(s.folder / "study.yaml", "# " + evil);
  const std::string page = page_of(s);
  CHECK_FALSE(has(page, "alert(1)<"));
  CHECK_FALSE(has(page, "<script>alert"));
  CHECK(has(page, "&lt;script&gt;alert(1)"));
}

TEST_CASE("report: damaged files are told by their folder") {
  MadeStudy s;
  s.plan["arms"][0].erase("overrides");
  const StudyFolder f = s.written();
  s.journals();
  CHECK(has(message_of<DataError>([&] { study_report(f, compare_study(f, "")); }), "damaged or of another version"));
}
