#include "mixers/built_mixer.h"
#include "store/temp_folder.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("attention: starts as GPT-2 does, the output's spread falling with depth") {
  for (int64_t layers : {1, 3, 12}) {
    const BuiltMixer m("attention", "{heads: 4, kv_heads: 2, bias: true, qk_norm: true}", 64, 0, layers);
    m.check_deviation("qkv.weight", 0.02, 0.05);
    m.check_deviation("out.weight", 0.02 / std::sqrt(2.0 * static_cast<double>(layers)), 0.05);
    for (const char* name : {"qkv.bias", "out.bias"}) CHECK(m.all(name, 0));
    for (const char* name : {"q_norm.weight", "k_norm.weight"}) CHECK(m.all(name, 1));
    CHECK(m.undecayed() == std::vector<std::string>{"k_norm.weight", "out.bias", "q_norm.weight", "qkv.bias"});
  }
}

TEST_CASE("attention: projections of pattention have tokens of their own for q, k, v and the output") {
  const BuiltMixer m("attention", "{heads: 4, kv_heads: 2, projection: {type: pattention, tokens: 96}}", 64, 0, 3);
  CHECK(m.store.sorted().size() == 8);
  for (const char* part : {"qkv.q.", "qkv.k.", "qkv.v.", "out."}) {
    m.check_deviation(std::string(part) + "keys.weight", 0.02, 0.05);
    m.check_deviation(std::string(part) + "values.weight", 2 / (3 * 8.0), 0.05);
  }
  CHECK(m["qkv.v.values.weight"].shape == Shape{32, 96});
  CHECK(m["qkv.v.values.weight"].traits.role == Role::hidden);
  CHECK(m["out.values.weight"].traits.role == Role::residual);
  CHECK(BuiltMixer("attention", "{projection: pattention}", 64)["out.keys.weight"].shape == Shape{64, 64});
  CHECK_THROWS_WITH_AS(BuiltMixer("attention", "{bias: true, heads: 5, projection: pattention}", 64),
                       doctest::Contains("5 heads don't divide d_model 64"), ConfigError);
  CHECK_THROWS_WITH_AS(BuiltMixer("attention", "{bias: true, projection: pattention}", 64),
                       doctest::Contains("pattention has no offsets"), ConfigError);
}

TEST_CASE("attention: rope_share leaves the last columns of a head as they are, and needs pairs") {
  const Tensor x = random({1, 4, 8}, 1);
  const auto keys = [&](const char* options) {
    const BuiltMixer m("attention", options, 8);
    State s = m.mixer->make_state(1, 4, DType::f64);
    m.forward(x, s);
    return s.field(s.root(), "k").clone();
  };
  const Tensor none = keys("{heads: 1, position: none}"), half = keys("{heads: 1, rope_share: 0.5}"),
               all = keys("{heads: 1}");
  CHECK(same_bits(half.columns(4, 4), none.columns(4, 4)));
  CHECK(max_diff(half.columns(0, 4), none.columns(0, 4)) > 0.01);
  CHECK(max_diff(all.columns(4, 4), none.columns(4, 4)) > 0.001);
  for (const char* share : {"0", "0.4"})
    CHECK_THROWS_WITH_AS(keys((std::string("{heads: 1, rope_share: ") + share + "}").c_str()),
                         doctest::Contains("columns to turn"), ConfigError);
}

TEST_CASE("attention: value_residual takes the share of the first layer's values that it says, of one width") {
  const auto values = [](const std::string& first, const std::string& second) {
    const auto model = build_model("{d_model: 8, layers: [{mixer: {type: attention, heads: 2, " + first +
                                       "}}, {mixer: {type: attention, heads: 2, " + second + "}}]}",
                                   11);
    State s = model->make_state(1, 4);
    model->logits(random_ids(1, 4, 11, 1), {}, &s);
    std::vector<Tensor> v;
    for (int64_t i = 0; i < 2; ++i) v.push_back(s.field(model->layer_site(i)["mixer"], "v"));
    return v;
  };
  const auto plain = values("bias: false", "bias: false"), none = values("value_residual: 0.5", "value_residual: 0"),
             all = values("value_residual: 0.5", "value_residual: 1");
  for (size_t i = 0; i < 2; ++i) CHECK(same_bits(plain[i], none[i]));
  CHECK(max_diff(plain[0], plain[1]) > 0.01);
  for (const Tensor& v : all) CHECK(same_bits(v, plain[0]));  // what is remembered is what was mixed
  CHECK_THROWS_WITH_AS(values("value_residual: 0.5", "kv_heads: 1, value_residual: 0.5"),
                       doctest::Contains("layers.1.mixer needs `values` of width 4"), ConfigError);
  // With what is wrong with other layers.
  const std::string both = message_of<ConfigError>([] {
    build_model(
        "{d_model: 8, layers: [{mixer: {type: attention, heads: 2, value_residual: 0.5}}, {mixer: {type: "
        "attention, heads: 2, kv_heads: 1, value_residual: 0.5}}, {mixer: {type: gla, heads: 3}}]}",
        11);
  });
  for (const char* part : {"layers.1.mixer needs `values`", "3 heads don't divide"})
    CHECK(both.find(part) != both.npos);
}

TEST_CASE("attention: value_residual is written out only where it is given, so that hashes stay") {
  const auto written = [](const char* options) {
    const auto o = all_mixers.find("attention").options();
    read(*o, parse_config(options, "t"), "attention");
    return to_yaml(write(*o));
  };
  CHECK(written("{}").find("value_residual") == std::string::npos);
  CHECK(written("{value_residual: 0}").find("value_residual: 0") != std::string::npos);
}
