// Models that were configured before a default changed go on with the old one, also inside of other mixers.
#include "model/old_defaults.h"

#include <doctest/doctest.h>

#include "config/yaml.h"

using namespace effllm;

namespace {

// "gla's heads were 1 before version 2, and an mlp expanded by 3."
constexpr OldDefault kChanged[] = {{2, "gla", "heads", "1"}, {2, "mlp", "expand", "3"}};

ModelConfig config_of(const std::string& layers, int version) {
  ModelConfig c = read_model_config(parse_config("{d_model: 16, layers: [" + layers + "]}", "test"), 8);
  use_defaults_of(version, c, kChanged);
  return c;
}

std::string written(const std::string& layers, int version) {
  return to_flow_yaml(write_model_config(config_of(layers, version)));
}

}  // namespace

TEST_CASE("old defaults: what is not named keeps the value of its day, what is named its own") {
  const std::string plain = "{mixer: {type: gla}, ffn: {type: mlp}}",
                    named = "{mixer: {type: gla, heads: 1}, ffn: {type: mlp, expand: 3}}",
                    other = "{mixer: {type: gla, heads: 8}, ffn: {type: mlp, expand: 5}}";
  CHECK(written(plain, 2) != written(named, 2));
  CHECK(written(plain, 1) == written(named, 2));
  CHECK(written(other, 1) == written(other, 2));
  CHECK(written("{mixer: {type: min_gru}, ffn: none}", 1) == written("{mixer: {type: min_gru}, ffn: none}", 2));
}

TEST_CASE("old defaults: mixers inside of mixers have theirs, be they named or a default themselves") {
  CHECK(written("{mixer: {type: bidirectional, of: {type: gla}}}", 1) ==
        written("{mixer: {type: bidirectional, of: {type: gla, heads: 1}}}", 2));
  CHECK(written(
            "{mixer: {type: parallel, branches: [{type: parallel, branches: [gla, min_gru]}, {type: gla, heads: 2}]}}",
            1) ==
        written(
            "{mixer: {type: parallel, branches: [{type: parallel, branches: [{type: gla, heads: 1}, min_gru]}, {type: "
            "gla, heads: 2}]}}",
            2));
  CHECK(written("{mixer: parallel}", 1) ==
        written("{mixer: {type: parallel, branches: [attention, {type: gla, heads: 1}]}}", 2));
}
