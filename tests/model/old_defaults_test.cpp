// Models that were configured before a default changed go on with the old one, also inside of other mixers.
#include "model/old_defaults.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "config/yaml.h"
#include "ffn/ffn.h"
#include "mixers/mixer.h"

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

TEST_CASE("old defaults: each is of an option that is there, and is not its default of today") {
  for (const OldDefault& d : old_defaults()) {
    CAPTURE(d.mechanism);
    CAPTURE(d.key);
    const bool mixer = std::ranges::any_of(all_mixers, [&](const LayerInfo* m) { return m->name == d.mechanism; });
    const LayerInfo* const info = mixer ? &all_mixers.find(d.mechanism) : &all_ffns.find(d.mechanism);
    const auto now = info->options(), then = info->options();
    read(*then, parse_config(fmt::format("{{{}: {}}}", d.key, d.value), "test"), info->name);
    CHECK(to_flow_yaml(write(*then)) != to_flow_yaml(write(*now)));
  }
}

TEST_CASE("old defaults: before version 2 norms of gla, delta_net and parallel had 1e-5, retnet's rows no scale") {
  const auto of = [](const std::string& mixer, int version) {
    ModelConfig c = read_model_config(parse_config("{d_model: 16, layers: [{mixer: " + mixer + "}]}", "test"), 8);
    use_defaults_of(version, c);
    return to_flow_yaml(write_model_config(c));
  };
  for (const char* type : {"gla", "delta_net"})
    CHECK(of(fmt::format("{{type: {}}}", type), 1) == of(fmt::format("{{type: {}, norm_eps: 1e-5}}", type), 2));
  CHECK(of("retnet", 1) == of("{type: retnet, row_scale: false}", 2));
  CHECK(of("parallel", 1) ==
        of("{type: parallel, norm_eps: 1e-5, branches: [attention, {type: gla, norm_eps: 1e-5}]}", 2));
  CHECK(of("{type: gla, norm_eps: 1e-3}", 1) == of("{type: gla, norm_eps: 1e-3}", 2));
}
