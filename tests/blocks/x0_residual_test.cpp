#include <doctest/doctest.h>

#include "blocks/block.h"
#include "mixers/built_mixer.h"
#include "support/close.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("x0_residual: scales start as in nanochat, the stream's learns a hundred times slower, x0's does not decay") {
  for (const int64_t layer : {0, 1, 4}) {
    const BuiltMixer m(all_blocks.find("x0_residual"), "{mixer: min_gru, ffn: none}", 8, layer, 5);
    const double depth = static_cast<double>(layer) / 4;
    CHECK(close(at(m["stream_scale"].value, 0, 0), 1.15 - 0.10 * depth, 1e-12));
    CHECK(close(at(m["x0_scale"].value, 0, 0), 0.20 - 0.15 * depth, 1e-12));
    CHECK(m["stream_scale"].traits.lr_scale == 0.01);
    CHECK(m["x0_scale"].traits.lr_scale == 1);
    CHECK_FALSE(m["x0_scale"].traits.decay);
  }
}

TEST_CASE("x0_residual: the first layer of the kind leaves what it is given, unscaled") {
  const auto model = build_model(
      "{d_model: 8, layers: [{mixer: min_gru}, {type: x0_residual, mixer: min_gru}, {type: x0_residual, mixer: "
      "min_gru}]}",
      13);
  Tensor into, left;
  const Taps look = [&](std::string_view name, const Tensor& value) {
    if (name == "layers.0.residual") into = value;
    return value;
  };
  Context cx;
  cx.taps = &look;
  cx.shelf = std::make_shared<Shelf>();
  model->run(model->embed(random_ids(2, 5, 13, 1), cx, nullptr), 0, 3, cx, nullptr);
  REQUIRE(into.defined());
  CHECK(same_bits(cx.shelf->at("x0"), into));
}
