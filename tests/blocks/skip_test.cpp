// A task in which depth must be routed: a quarter of the tokens wants to be changed, the others to pass.
#include <doctest/doctest.h>

#include "blocks/block.h"
#include "support/fit.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("mod: tokens that need the block are those that go through it, in training and by the causal choice") {
  constexpr int64_t kWidth = 8, kTokens = 16;
  const Tensor x = random({12, kTokens, kWidth}, 1), y = x.clone(), map = random({kWidth, kWidth}, 2, DType::f64, 0.7);
  for (int64_t r = 0; r < x.rows(); ++r) {
    const bool marked = (r * 7 + r / kTokens) % 4 == 0;
    for (const Tensor& t : {x, y}) put(t, r, 0, marked ? 2 : -2);
    for (int64_t c = 1; marked && c < kWidth; ++c) {
      double sum = 0;
      for (int64_t i = 1; i < kWidth; ++i) sum += at(map, c, i) * at(x, r, i);
      put(y, r, c, sum);
    }
  }
  const auto error_of = [&](const std::string& options, int64_t* right) {
    BuiltMixer m(all_blocks.find("mod"),
                 "{mixer: min_gru, ffn: {type: swiglu, expand: 3}, capacity: 0.25, " + options + "}", kWidth);
    const double error = fit(m, x, y, 500, 0.02);
    Tensor chosen;
    const Taps look = [&](std::string_view name, const Tensor& value) {
      if (name.ends_with("selected")) chosen = value;
      return value;
    };
    Context cx;
    cx.taps = &look;
    m.mixer->forward(x, cx);
    *right = 0;
    for (int64_t r = 0; r < x.rows(); ++r) *right += (*chosen.view<int64_t>().row(r) == 1) == (at(x, r, 0) > 0);
    return error;
  };
  int64_t right = 0, by_chance = 0;
  const double chance = error_of("router: random", &by_chance);
  for (const char* causal : {"causal: predictor, causal_weight: 1", "causal: aux, causal_weight: 1"}) {
    CAPTURE(causal);
    CHECK(error_of(causal, &right) < chance / 3);
    CHECK(right > x.rows() * 95 / 100);
  }
}
