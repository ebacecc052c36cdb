// `effllm report`, claims and held-out seeds: from a study to a page.
#include "cli/study_world.h"

using namespace effllm;
using namespace effllm::test;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

constexpr const char* kClaims =
    "claims:\n"
    "- {name: differ, source: nobody, statement: They differ., arms: [min_gru, gru], predicts: lower, margin: 5}\n"
    "- {name: small, source: nobody, statement: It is small., arms: [min_gru, gru], metric: parameters, predicts: "
    "lower}\n"
    "confirm: 2\n";

// Without `tune`: nothing is chosen at an edge.
std::string untuned() { return std::string(kStudy).substr(0, std::string(kStudy).find("tune")); }

}  // namespace

TEST_CASE("cli report: a page of a study that has run, with its curves") {
  const StudyWorld w;
  w.study(untuned());
  w.ok({"sweep", "study.yaml", "-o", "s", "-q", "--set", "train.eval_every=10"});
  CHECK(w.ok({"report", "s"}).out == "s/report.html\n");
  const std::string page = slurp(w.scratch.path / "s/report.html");
  CHECK(page.starts_with("<!DOCTYPE html>"));
  for (const std::string part :
       {"<h1>study</h1>", "class=\"curve c0\"", "class=\"curve c1\"", "<h2>Effective speedup</h2>",
        "4 of 4 runs are done", "SHA-256 of study.yaml", "gzip", "processor"})
    CHECK_MESSAGE(has(page, part), part);
  CHECK_FALSE(has(page, "has no curve"));
  CHECK(json::parse(w.ok({"report", "s", "-o", "other.html", "--json"}).out) == json{{"file", "other.html"}});
  CHECK(slurp(w.scratch.path / "other.html") == page);
  CHECK(w.ok({"report", "s", "--baseline", "min_gru", "-o", "other.html"}).code == 0);
  CHECK(has(slurp(w.scratch.path / "other.html"), "Difference to min_gru"));
  w.ends({"report", "s", "--baseline", "nobody"}, 2, {"the study has no arm nobody"});
  w.ends({"report", "nowhere"}, 3, {"is no folder of a study"});
  CHECK(w.effllm({"report", "s", "-o", "no/folder/here.html"}).code != 0);
  // The table of the terminal says the same of speedup.
  const json t = w.table("s");
  CHECK(t.at("arms").at(1).at("speedup").at("tokens").at("factor").is_number());
  CHECK(t.at("arms").at(0).at("speedup").empty());
  CHECK(w.ok({"compare", "s"}).shows("speedup: how many times more"));
}

TEST_CASE("cli report: claims are judged by compare and report, and anew by held-out seeds") {
  const StudyWorld w;
  w.study(untuned() + kClaims);
  w.ends({"sweep", "study.yaml", "-o", "s", "--confirm", "-q"}, 2, {"--confirm: arm gru: 2 of 2 runs are missing"});
  w.ok({"sweep", "study.yaml", "-o", "s", "-q"});
  json t = w.table("s");
  REQUIRE(t.at("claims").size() == 2);
  CHECK(t.at("claims").at(0).at("found").at("verdict") == "not reproduced");
  CHECK(t.at("claims").at(0).at("confirmed").is_null());
  CHECK(t.at("claims").at(1).at("found").at("verdict") == "reproduced");
  CHECK(t.at("claims").at(0).at("after_runs") == 0);
  CHECK(w.effllm({"sweep", "study.yaml", "-o", "s", "--confirm", "--dry-run"})
            .shows("4 runs (2 arms, 2 seeds held out)"));
  CHECK_FALSE(fs::exists(w.scratch.path / "s/confirm.json"));
  w.ok({"sweep", "study.yaml", "-o", "s", "--confirm", "-q"});
  CHECK(w.results("s").contains("min_gru.s1002.json"));
  CHECK(w.results("s").size() == 8);
  t = w.table("s");
  CHECK(t.at("arms").at(0).at("scores").size() == 2);  // the table is of the study's own seeds
  CHECK(t.at("claims").at(0).at("confirmed").at("verdict") == "not reproduced");
  CHECK(t.at("claims").at(0).at("confirmed").at("seeds") == 2);
  CHECK(t.at("claims").at(0).at("confirmed").at("value") != t.at("claims").at(0).at("found").at("value"));
  CHECK(w.effllm({"sweep", "status", "s"}).shows("gru.s1001"));
  CHECK(w.ok({"compare", "s"}).shows("verdict of these"));
  w.ok({"report", "s"});
  const std::string page = slurp(w.scratch.path / "s/report.html");
  for (const std::string part :
       {"<h2>Claims</h2>", "not reproduced</span> on held-out seeds", "They differ.", "SHA-256 of the claims"})
    CHECK_MESSAGE(has(page, part), part);
  w.ok({"sweep", "study.yaml", "-o", "s", "-q"});  // once more there is nothing to do
  w.study(untuned());
  w.ends({"sweep", "study.yaml", "-o", "s", "-q"}, 2, {"a claim was changed or taken out after runs had ended"});
  w.study(untuned() + "claims: [{source: a, statement: b, arms: [gru, gur], predicts: lower}]\n");
  w.ends({"sweep", "study.yaml", "-o", "other"}, 2, {"study.yaml:", "the study has no arm gur"});
}
