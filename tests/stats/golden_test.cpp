// Against scipy: scripts/golden/statistics.py.
#include <doctest/doctest.h>

#include <cmath>

#include "base/error.h"
#include "base/json.h"
#include "stats/estimate.h"
#include "stats/holm.h"
#include "stats/student_t.h"
#include "store/temp_folder.h"
#include "support/paths.h"

using namespace effllm;
using nlohmann::json;

namespace {

json golden(const char* section) {
  return json::parse(slurp(std::filesystem::path(test::kSourceDir) / "tests/golden/statistics.json")).at(section);
}

bool near(double a, double b, double part) { return std::abs(a - b) <= part * std::max(1.0, std::abs(b)); }

}  // namespace

TEST_CASE("stats: quantiles and tails of Student's t are scipy's") {
  const json quantiles = golden("quantiles"), tails = golden("two_sided");
  CHECK(quantiles.size() > 50);
  for (const json& g : quantiles) CHECK_MESSAGE(near(t_quantile(g["p"], g["df"]), g["t"], 1e-9), g.dump());
  for (const json& g : tails) {
    const double p = t_two_sided_p(g["t"], g["df"]), want = g["p"];
    CHECK_MESSAGE(std::abs(p - want) <= 1e-9 * want, g.dump());
  }
}

TEST_CASE("stats: power and the smallest detectable shift are those of an integral over the spread") {
  for (const json& g : golden("powers"))
    CHECK_MESSAGE(near(t_test_power(g["shift"], g["df"], g["alpha"]), g["power"], 1e-8), g.dump());
  for (const json& g : golden("shifts"))
    CHECK_MESSAGE(near(t_test_shift(g["power"], g["df"], g["alpha"]), g["shift"], 1e-7), g.dump());
  CHECK(t_test_power(0, 4, 0.05) == doctest::Approx(0.05));
  CHECK(t_test_power(-3, 4, 0.05) == t_test_power(3, 4, 0.05));
}

TEST_CASE("stats: means, intervals, paired and Welch's differences are scipy's") {
  for (const json& g : golden("samples")) {
    INFO(g.dump());
    const std::vector<double> a = g["a"], b = g["b"];
    const Estimate mean = mean_of(a), welch = welch_difference(a, b);
    CHECK(near(mean.value, g["mean"], 1e-12));
    CHECK(near(mean.value - mean.half_width(0.95), g["lo"], 1e-9));
    CHECK(near(mean.value + mean.half_width(0.95), g["hi"], 1e-9));
    CHECK(near(welch.p(), g["welch_p"], 1e-8));
    CHECK(near(welch.value / welch.standard_error, g["welch_t"], 1e-8));
    CHECK(near(welch.df, g["welch_df"], 1e-8));
    if (!g.contains("paired_p")) continue;
    const Estimate paired = paired_difference(a, b);
    CHECK(near(paired.p(), g["paired_p"], 1e-8));
    CHECK(near(paired.value / paired.standard_error, g["paired_t"], 1e-8));
  }
}

TEST_CASE("stats: Holm's steps reject what R's p.adjust does, and levels say where it stopped") {
  for (const json& g : golden("holm")) {
    INFO(g.dump());
    const std::vector<double> p = g["p"];
    const auto steps = holm(p, 0.05);
    REQUIRE(steps.size() == p.size());
    for (size_t i = 0; i < p.size(); ++i) {
      CHECK(near(steps[i].adjusted, g["adjusted"][i], 1e-12));
      CHECK(steps[i].rejected == g["rejected"][i].get<bool>());
      CHECK(steps[i].rejected == (p[i] <= steps[i].level));
    }
  }
  const std::vector<double> p = {0.03, 0.001, 0.04};  // 0.03 is above 0.05 / 2: what comes after it stays, too
  const auto steps = holm(p, 0.05);
  CHECK(steps[1].rejected);
  CHECK_FALSE(steps[0].rejected);
  CHECK_FALSE(steps[2].rejected);
  CHECK(steps[1].level == 0.05 / 3);
  CHECK(steps[2].level == 0.05 / 2);
  CHECK(holm({}, 0.05).empty());
  CHECK_THROWS_AS(holm(std::vector{0.5, std::nan("")}, 0.05), ShapeError);
}
