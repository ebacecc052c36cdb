#include "optim/schedule.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "config/yaml.h"

using namespace effllm;

namespace {

// nanoGPT's get_lr with a base rate of 1: the learning rate before step `it` of `horizon`.
double nanogpt(int64_t it, int64_t warmup, int64_t horizon, double floor) {
  if (it < warmup) return static_cast<double>(it + 1) / static_cast<double>(warmup + 1);
  const double ratio = static_cast<double>(it - warmup) / static_cast<double>(horizon - warmup);
  return floor + 0.5 * (1 + std::cos(std::numbers::pi * ratio)) * (1 - floor);
}

std::unique_ptr<Schedule> schedule(std::string_view name, int64_t warmup, double final_lr) {
  const std::string yaml = fmt::format("{{type: {}, warmup: {}, final_lr: {}}}", name, warmup, final_lr);
  return all_schedules.read(parse_config(yaml, "test")).build();
}

}  // namespace

TEST_CASE("schedule: cosine with warm-up is nanoGPT's, step by step") {
  for (const int64_t warmup : {0, 1, 10, 99, 100, 150}) {
    const auto s = schedule("cosine", warmup, 0.1);
    for (int64_t step = 0; step < 100; ++step) {
      INFO("warm-up " << warmup << ", step " << step);
      CHECK(s->factor(step, static_cast<double>(step) / 100) ==
            doctest::Approx(nanogpt(step, warmup, 100, 0.1)).epsilon(1e-12));
    }
  }
}

TEST_CASE("schedule: known values") {
  const auto s = schedule("cosine", 4, 0.2);
  CHECK(s->factor(0, 0) == doctest::Approx(0.2));
  CHECK(s->factor(3, 0.03) == doctest::Approx(0.8));
  CHECK(s->factor(4, 0.04) == doctest::Approx(1));
  CHECK(s->factor(52, 0.52) == doctest::Approx(0.6));  // half of what is left
  CHECK(s->factor(100, 1) == doctest::Approx(0.2));
  CHECK(s->factor(120, 1.2) == doctest::Approx(0.2));  // past the horizon it stays
  CHECK(schedule("cosine", 0, 0)->factor(0, 0) == 1);
}

TEST_CASE("schedule: warm-up leads into the shape without a jump, however the horizon is counted") {
  // A horizon in time: the 10 steps of warm-up took 30 % of it.
  const auto s = schedule("cosine", 10, 0.1);
  CHECK(s->factor(9, 0.27) == doctest::Approx(10.0 / 11));
  CHECK(s->factor(10, 0.3) == doctest::Approx(1));
  CHECK(s->factor(20, 0.65) < 0.8);
}

TEST_CASE("schedule: constant stays at the base rate after warm-up") {
  const auto s = schedule("constant", 3, 0.1);
  CHECK(s->factor(0, 0) == doctest::Approx(0.25));
  for (int64_t step : {3, 50, 99}) CHECK(s->factor(step, static_cast<double>(step) / 100) == 1);
}

TEST_CASE("schedule: never above the base rate, never below the floor after warm-up, and falling") {
  const auto s = schedule("cosine", 20, 0.05);
  double before = 1;
  for (int64_t step = 20; step <= 200; ++step) {
    const double f = s->factor(step, static_cast<double>(step) / 200);
    CHECK(f <= before + 1e-15);
    CHECK(f >= 0.05 - 1e-15);
    before = f;
  }
}

TEST_CASE("schedule: wsd keeps the base rate, then falls to its end by each shape, without a jump") {
  const auto wsd = [](std::string_view shape, double decay) {
    return all_schedules
        .read(parse_config(fmt::format("{{type: wsd, warmup: 10, decay: {}, shape: {}, final_lr: 0.1}}", decay, shape),
                           "test"))
        .build();
  };
  // 10 of 210 steps warm up; the last quarter of the other 200 falls.
  const auto at = [](const Schedule& s, int64_t step) { return s.factor(step, static_cast<double>(step) / 210); };
  for (const auto& [shape, middle] : {std::pair{"linear", 0.5}, {"cosine", 0.5}, {"sqrt", 1 - std::sqrt(0.5)}}) {
    CAPTURE(std::string(shape));
    const auto s = wsd(shape, 0.25);
    for (const int64_t step : {10, 50, 159, 160}) CHECK(at(*s, step) == doctest::Approx(1));
    CHECK(at(*s, 185) == doctest::Approx(0.1 + 0.9 * middle).epsilon(1e-9));
    CHECK(at(*s, 210) == doctest::Approx(0.1));
    double before = 1;
    for (int64_t step = 160; step <= 210; ++step) {
      CHECK(at(*s, step) <= before);
      before = at(*s, step);
    }
  }
  CHECK(at(*wsd("sqrt", 0.25), 161) < at(*wsd("linear", 0.25), 161));  // 1 - sqrt falls at once
  for (const int64_t step : {10, 110, 210}) CHECK(at(*wsd("linear", 0), step) == 1);
}
