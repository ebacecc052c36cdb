// Pictures by where they put things.
#include <doctest/doctest.h>

#include <cmath>
#include <regex>

#include "report/axis.h"
#include "report/interval_chart.h"
#include "report/line_chart.h"
#include "support/messages.h"

using namespace effllm;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

size_t count(const std::string& text, const std::string& pattern) {
  const std::regex r(pattern);
  return static_cast<size_t>(std::distance(std::sregex_iterator(text.begin(), text.end(), r), {}));
}

// The numbers of the first element of this class.
std::vector<double> numbers_of(const std::string& svg, const std::string& classes) {
  std::smatch element;
  const std::regex wanted("<(\\w+)([^>]*)class=\"" + classes + "\"");
  std::vector<double> all;
  if (!std::regex_search(svg, element, wanted)) return all;
  const std::string attributes = element[2];
  const std::regex number("[-0-9.]+(?=[ L\"Z])");
  for (std::sregex_iterator it(attributes.begin(), attributes.end(), number), end; it != end; ++it)
    all.push_back(std::stod(it->str()));
  return all;
}

}  // namespace

TEST_CASE("charts: axes hold what they are over, logarithmic where it spans much") {
  const Axis plain = axis_over({2, 4}, 0.05, true), log = axis_over({1, 100}, 0.02, true);
  CHECK_FALSE(plain.logarithmic);
  CHECK(plain.low == doctest::Approx(1.9));
  CHECK(plain.high == doctest::Approx(4.1));
  CHECK(log.logarithmic);
  CHECK(log.at(10) == doctest::Approx(0.5));
  CHECK_FALSE(axis_over({1, 100}, 0.02, false).logarithmic);
  CHECK_FALSE(axis_over({0, 100}, 0.02, true).logarithmic);
  const Axis one = axis_over({2, 2}, 0.05, true);
  CHECK(one.low < 2);
  CHECK(one.high > 2);
  CHECK(axis_over({0}, 0.05, true).high == 1);
  const auto ticks = ticks_of(axis_over({10000, 200000}, 0, true), 5);
  REQUIRE(ticks.size() >= 3);
  CHECK(ticks.front().text == "10 K");
  for (const Tick& t : ticks) CHECK_FALSE(has(t.text, "e+"));
}

TEST_CASE("charts: a curve goes through its means inside its band") {
  const BandCurve c{.name = "a", .colour = 9, .x = {1, 2, 3}, .low = {3, 2, 1}, .mean = {4, 3, 2}, .high = {5, 4, 3}};
  const std::string svg = line_chart({c}, "a \"label\"", "tokens", "bits", 8);
  CHECK(has(svg, "aria-label=\"a &quot;label&quot;\""));
  const auto mean = numbers_of(svg, "curve c1 dashed"), band = numbers_of(svg, "band c1 dashed");
  REQUIRE(mean.size() == 6);
  REQUIRE(band.size() == 12);
  CHECK(mean[0] < mean[2]);
  CHECK(mean[1] < mean[3]);  // down the page is down
  CHECK(mean[2] - mean[0] == doctest::Approx(mean[4] - mean[2]).epsilon(0.01));
  CHECK(band[1] < mean[1]);   // high
  CHECK(band[11] > mean[1]);  // low of the first point comes last
  for (size_t i = 0; i < mean.size(); i += 2) {
    CHECK(mean[i] >= 0);
    CHECK(mean[i] <= 400);
    CHECK(mean[i + 1] >= 0);
    CHECK(mean[i + 1] <= 270);
  }
}

TEST_CASE("charts: gaps, single points, infinities and nothing at all") {
  BandCurve c{.name = "a", .colour = 0, .x = {1, 2, 3, 4, 5}, .low = {1, 1, kNan, 1, 1}, .mean = {}, .high = {}};
  c.mean = c.high = c.low;
  CHECK(count(line_chart({c}, "l", "x", "y", 8), "class=\"curve") == 2);
  c.x[1] = INFINITY;
  const std::string svg = line_chart({c}, "l", "x", "y", 8);
  CHECK(count(svg, "class=\"curve") == 1);
  CHECK(count(svg, "class=\"mark c0") == 1);
  CHECK_FALSE(has(svg, "nan"));
  CHECK_FALSE(has(svg, "inf"));
  CHECK(has(line_chart({}, "l", "x", "y", 8), "nothing to draw"));
  BandCurve many{.name = "m", .colour = 0, .x = {}, .low = {}, .mean = {}, .high = {}};
  for (int i = 1; i <= 20000; ++i) {
    many.x.push_back(i);
    for (auto* v : {&many.low, &many.mean, &many.high}) v->push_back(1.0 / i);
  }
  CHECK(line_chart({many}, "l", "x", "y", 8).size() < 2'000'000);
}

TEST_CASE("charts: what has diverged does not press the others together, and is an arrow") {
  BandCurve good{.name = "g", .colour = 0, .x = {1, 2, 3}, .low = {3, 2, 1}, .mean = {3, 2, 1}, .high = {3, 2, 1}};
  BandCurve wild = good;
  wild.colour = 1, wild.mean = wild.high = {3, 1e5, 1e6};
  const std::string svg = line_chart({good, wild}, "l", "x", "y", 8);
  const auto falls = numbers_of(svg, "curve c0"), tip = numbers_of(svg, "mark beyond c1");
  CHECK(falls[5] - falls[1] > 150);  // from the upper edge to the lower
  CHECK(count(svg, "class=\"mark beyond c1\"") == 1);
  REQUIRE(tip.size() >= 4);
  CHECK(tip[2] == doctest::Approx(falls[2]));                                // where it leaves
  CHECK(count(line_chart({wild}, "l", "x", "y", 0.5), "mark beyond") == 0);  // nothing is below
  for (double v : falls) CHECK(v >= 0);

  const IntervalRow a{
      .name = "a", .text = "2", .colour = 0, .value = 2.0, .low = 1.9, .high = 2.1, .points = {1.95, 2.05}};
  IntervalRow b{.name = "b",
                .text = "5000",
                .colour = 1,
                .apart = true,
                .value = 5001.0,
                .low = -1e5,
                .high = 1e5,
                .points = {2.0, 10000.0}};
  const std::string rows = interval_chart({a, b}, "l", "x", false);
  const auto interval = numbers_of(rows, "interval c0");
  CHECK(interval[2] - interval[0] > 200);
  CHECK(count(rows, "<path[^>]*class=\"mark c1\"") == 2);  // beyond both ends
  CHECK(count(rows, "<circle[^>]*class=\"mark c1\"") == 0);
  CHECK(count(rows, "class=\"seed c1\"") == 1);
  const std::string alone = interval_chart({b}, "l", "x", false);
  CHECK(count(alone, "<circle[^>]*class=\"mark c1\"") == 1);
}

TEST_CASE("charts: intervals stand about their values, and what is far out is an arrow") {
  const IntervalRow a{
      .name = "a", .text = "2", .colour = 0, .value = 2.0, .low = 1.9, .high = 2.1, .points = {1.95, 2.05}},
      b{.name = "<b>", .text = "3", .colour = 1, .value = 2.5, .low = {}, .high = {}, .points = {}},
      none{.name = "c", .text = "no result", .colour = 2, .value = {}, .low = {}, .high = {}, .points = {}},
      near{.name = "near", .text = "3", .plain = true, .value = 3.0, .low = {}, .high = {}, .points = {}},
      far{.name = "far", .text = "9", .plain = true, .value = 9.0, .low = {}, .high = {}, .points = {}};
  const std::string svg = interval_chart({a, b, none, near, far}, "l", "x", false);
  const auto interval = numbers_of(svg, "interval c0"), value = numbers_of(svg, "mark c0"),
             other = numbers_of(svg, "mark c1");
  REQUIRE(interval.size() == 4);
  CHECK(interval[0] < value[0]);
  CHECK(value[0] < interval[2]);
  CHECK((interval[0] + interval[2]) / 2 == doctest::Approx(value[0]).epsilon(0.001));
  CHECK(value[0] < other[0]);
  CHECK(count(svg, "class=\"seed c0") == 2);
  CHECK(count(svg, "<circle[^>]*plain") == 1);
  CHECK(count(svg, "<path[^>]*plain") == 1);
  CHECK(has(svg, "&lt;b&gt;"));
  CHECK(count(interval_chart({a}, "l", "x", true), "class=\"zero\"") == 1);
  CHECK(has(interval_chart({none}, "l", "x", false), "no result"));
  CHECK_FALSE(has(interval_chart({none}, "l", "x", true), "nan"));
}
