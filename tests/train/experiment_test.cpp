#include "train/experiment.h"

#include <doctest/doctest.h>

#include "support/run_calls.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("experiment: with the defaults of an earlier version a token costs what it did then") {
  const TinyFolder t("experiment_defaults");
  const auto costs = [&](const std::string& mixer, int version) {
    Experiment x(request(t, {"model.layers[0].mixer=" + mixer}).config);
    x.use_defaults_of(version);
    return x.flops_per_token;
  };
  const std::string plain = "{type: retnet, heads: 2}", then = "{type: retnet, heads: 2, row_scale: false}";
  CHECK(costs(plain, 1) == costs(then, kCheckpointVersion));
  CHECK(costs(plain, 1) < costs(plain, kCheckpointVersion));
}
