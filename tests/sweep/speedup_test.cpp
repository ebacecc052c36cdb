// Effective speedup of curves that are made up.
#include "sweep/speedup.h"

#include <cmath>

#include "sweep/made_study.h"

using namespace effllm;

namespace {

// loss = 2 + last - 0.2 log(tokens / 1000), as if everything took `slower` times the tokens.
RunCurve falling(double slower, double last = 0) {
  RunCurve run;
  for (int e = 1; e <= 10; ++e) {
    const double tokens = 100.0 * e;
    run.push_back({.step = 10 * e,
                   .tokens = tokens,
                   .flops = 6 * tokens,
                   .seconds = 0.5 * tokens,
                   .loss = 2 + last - 0.2 * std::log(tokens / slower / 1000)});
  }
  return run;
}

}  // namespace

TEST_CASE("speedup: the factor of the budget, above 1 for what gets there with less") {
  const std::vector<RunCurve> base = {falling(1, 0.01), falling(1, 0.03)};
  const std::vector<RunCurve> fast = {falling(0.5, 0.01), falling(0.5, 0.03)},
                              slow = {falling(3, 0.01), falling(3, 0.03)};
  for (const Budget b : kBudgets) {
    const Speedup s = speedup_of(fast, base, true, b);
    CHECK_MESSAGE(s.none.empty(), s.none);
    CHECK(s.factor == doctest::Approx(2).epsilon(0.02));
    CHECK(s.loss == doctest::Approx(2.03));  // which the last of the four comes down to
    CHECK(speedup_of(slow, base, true, b).factor == doctest::Approx(1.0 / 3).epsilon(0.02));
    CHECK(speedup_of(base, base, true, b).factor == 1);
  }
  // Other costs of a token are another factor.
  std::vector<RunCurve> dear = fast;
  for (RunCurve& run : dear)
    for (CurvePoint& p : run) p.flops *= 4;
  CHECK(speedup_of(dear, base, true, Budget::tokens).factor == doctest::Approx(2).epsilon(0.02));
  CHECK(speedup_of(dear, base, true, Budget::flops).factor == doctest::Approx(0.5).epsilon(0.02));
}

TEST_CASE("speedup: its interval is of the logarithms over seeds, in pairs where they are pairs") {
  // Seeds differ by 20 %, and the arm in each by about 2.
  const std::vector<RunCurve> base = {falling(0.8), falling(1), falling(1.2)},
                              arm = {falling(0.41), falling(0.5), falling(0.58)};
  const Speedup pairs = speedup_of(arm, base, true, Budget::tokens),
                others = speedup_of(arm, base, false, Budget::tokens);
  CHECK(pairs.factor == doctest::Approx(others.factor));
  CHECK(pairs.low < pairs.factor);
  CHECK(pairs.factor < pairs.high);
  CHECK(pairs.factor * pairs.factor == doctest::Approx(pairs.low * pairs.high));
  CHECK(pairs.high / pairs.low < 1.3);
  CHECK(others.high / others.low > 1.5);
  CHECK(speedup_of({falling(0.5)}, {falling(1)}, true, Budget::tokens).high == 0);  // one seed has no spread
}

TEST_CASE("speedup: an interval that is wider than what evaluations could show says nothing, and so does its number") {
  // Two seeds whose factors are 1.5 and 0.8.
  const std::vector<RunCurve> base = {falling(1), falling(1)}, arm = {falling(1 / 1.5), falling(1 / 0.8)};
  const Speedup s = speedup_of(arm, base, true, Budget::tokens);
  CHECK(s.none.empty());
  CHECK(s.high / s.low > 50);
  CHECK(s.undetermined);
  CHECK(to_json({s})["tokens"]["undetermined"] == true);
  const std::vector<RunCurve> near = {falling(1 / 1.1), falling(1 / 1.05)};
  CHECK_FALSE(speedup_of(near, base, true, Budget::tokens).undetermined);
  StudyTable t;
  t.arms.resize(2);
  t.arms[0].name = "plain", t.arms[0].baseline = true, t.arms[1].name = "new";
  const ArmSpeedups all = {{}, {s, s, s}};
  CHECK(rows_of(t, all)[1][1] == "undetermined");
  CHECK(has(footnotes(t, all).at(1), "new: the speedup by tokens is undetermined: its interval, "));
}

TEST_CASE("speedup: unavailable where curves don't overlap or are not there, and it says so") {
  const std::vector<RunCurve> base = {falling(1), falling(1)}, far = {falling(0.01), falling(0.01)};
  CHECK(has(speedup_of(far, base, true, Budget::tokens).none,
            "the curves don't overlap: the first evaluation of the arm is below 2.0000"));
  CHECK(has(speedup_of(base, far, true, Budget::tokens).none, "of the baseline is below 2.0000"));
  const std::vector<RunCurve> one = {{base[0].front()}, {base[0].front()}};
  CHECK(has(speedup_of(one, base, true, Budget::tokens).none, "fewer than two evaluations"));
  std::vector<RunCurve> no_time = base;
  for (CurvePoint& p : no_time[0]) p.seconds = 0;
  CHECK(has(speedup_of(no_time, base, true, Budget::seconds).none, "fewer than two"));
}

TEST_CASE("curves and speedup: of the runs that were chosen, by their journals") {
  const MadeStudy s(-0.1);
  const StudyFolder f = s.written();
  s.journals(2);
  const StudyTable t = compare_study(f, "");
  const auto curves = curves_of(f, s.plan, t);
  REQUIRE(curves.size() == 2);
  CHECK(curves[1].none.empty());
  REQUIRE(curves[1].seeds.size() == 4);
  REQUIRE(curves[1].seeds[0].size() == 8);
  const CurvePoint& last = curves[0].seeds[2].back();
  CHECK(last.loss == doctest::Approx(2 + 0.03 * 3 - 0.01));  // that of optim.lr 0.002
  CHECK(last.tokens == 8000);
  CHECK(last.flops == 8000 * 6000.0);
  CHECK(last.seconds == doctest::Approx(0.8));
  const MeanCurve mean = mean_curve(curves[0].seeds, Budget::tokens);
  REQUIRE(mean.mean.size() == 8);
  CHECK(mean.spent.back() == 8000);
  CHECK(mean.low.back() == doctest::Approx(2.02));
  CHECK(mean.mean.back() == doctest::Approx(2.065));
  CHECK(mean.high.back() == doctest::Approx(2.11));
  const auto rows = rows_of(t, speedups_of(t, curves));
  REQUIRE(rows.size() == 2);
  CHECK(rows[1][0] == "new");
  // 0.1 bits less, and half as fast: exp(0.1 / 0.2) / 2.
  CHECK(rows[1][1].starts_with("0.8"));
  CHECK(to_json(speedups_of(t, curves)[1])["tokens"]["reason"] == "");
  // A journal that has gone costs the arm its curve, and the pair its speedup, not the table.
  std::filesystem::remove(RunFolder(f.run("new.lr-0.002.s2")).journal());
  const auto fewer = curves_of(f, s.plan, t);
  CHECK(has(fewer[1].none, "metrics.jsonl is not there"));
  CHECK(fewer[1].seeds.empty());
  CHECK(rows_of(t, speedups_of(t, fewer))[1][1] == "-");
  CHECK(has(footnotes(t, speedups_of(t, fewer)).back(), "new has no speedup: "));
}
