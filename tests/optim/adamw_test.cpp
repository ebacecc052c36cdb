#include "optim/adamw.h"

#include <doctest/doctest.h>

#include "config/expect.h"
#include "optim/normal_store.h"
#include "support/close.h"
#include "support/models.h"
#include "support/tensors.h"

using namespace effllm;
using effllm::testing::config_error;

namespace {

// a.weight [3, 5], a.bias [5] without decay, b.gain [4] with a tenth of the learning rate.
struct Store : test::NormalStore {
  Store()
      : NormalStore({{"a.weight", {3, 5}},
                     {"a.bias", {5}, {.decay = false}},
                     {"b.gain", {4}, {.decay = true, .lr_scale = 0.1}}},
                    DType::f64) {}
};

std::vector<GroupOptions> groups_of(std::string_view yaml) {
  std::vector<GroupOptions> all;
  const ConfigNode root = parse_config(yaml, "g.yaml");
  for (const ConfigNode& n : root.items()) {
    all.emplace_back().mark = n.mark();
    read(all.back(), n, "group");
  }
  return all;
}

OptimOptions options() {
  OptimOptions o;
  o.lr = 0.01, o.weight_decay = 0.1, o.beta1 = 0.9, o.beta2 = 0.95, o.eps = 1e-8;
  return o;
}

}  // namespace

TEST_CASE("adamw: patterns match as shells do") {
  CHECK(matches("*", ""));
  CHECK(matches("*.bias", "layers.0.mixer.qkv.bias"));
  CHECK_FALSE(matches("*.bias", "bias"));
  CHECK(matches("layers.?.mixer.*", "layers.3.mixer.out.weight"));
  CHECK_FALSE(matches("layers.?.mixer.*", "layers.13.mixer.out.weight"));
  CHECK(matches("*norm*weight", "layers.0.ffn_norm.weight"));
  CHECK(matches("a*b*c", "aXbbYc"));
  CHECK_FALSE(matches("a*b*c", "aXbbY"));
  CHECK_FALSE(matches("", "a"));
  CHECK_FALSE(matches("abc", "abcd"));
}

TEST_CASE("adamw: traits, then groups in order, make each parameter's settings, the last that matches wins") {
  Store s;
  const auto setting = [&](const AdamW& o, std::string_view name) {
    for (size_t i = 0; i < o.settings().size(); ++i)
      if (s.params.sorted()[i]->name == name) return o.settings()[i];
    FAIL("no such parameter");
    return ParameterSetting{};
  };
  const AdamW plain(options(), {}, s.params);
  CHECK(setting(plain, "a.weight").lr == 0.01);
  CHECK(setting(plain, "a.weight").weight_decay == 0.1);
  CHECK(setting(plain, "a.bias").weight_decay == 0);
  CHECK(test::close(setting(plain, "b.gain").lr, 0.001, 1e-15));
  const AdamW grouped(options(),
                      groups_of("[{match: '*', lr: 0.5}, {match: 'a.*', lr: 0.25, weight_decay: 0.3}, {match: "
                                "'*.bias', weight_decay: 0.7}]"),
                      s.params);
  CHECK(setting(grouped, "b.gain").lr == 0.5);
  CHECK(setting(grouped, "b.gain").weight_decay == 0.1);
  CHECK(setting(grouped, "a.weight").lr == 0.25);
  CHECK(setting(grouped, "a.weight").weight_decay == 0.3);
  CHECK(setting(grouped, "a.bias").lr == 0.25);
  CHECK(setting(grouped, "a.bias").weight_decay == 0.7);
}

TEST_CASE("adamw: a group that matches nothing is an error with its place") {
  Store s;
  const std::string message =
      config_error([&] { AdamW(options(), groups_of("- match: 'a.*'\n- match: '*.gian'\n"), s.params); });
  INFO(message);
  CHECK(has(message, "g.yaml:2:3"));
  CHECK(has(message, "`*.gian`"));
  CHECK(has(message, "effllm describe"));
}

TEST_CASE("adamw: a rate of zero leaves a group as it was, the others move") {
  Store s;
  AdamW optimizer(options(), groups_of("[{match: 'a.*', lr: 0}]"), s.params);
  const Tensor weight = s.params.find("a.weight")->value, gain = s.params.find("b.gain")->value;
  const Tensor weight_before = weight.clone(), gain_before = gain.clone();
  const Slab gradient(s.params.slab_elements(), DType::f64);
  for (int64_t i = 0; i < gradient.elements(); ++i) gradient.data<double>()[i] = 1;
  optimizer.step(gradient, 1, 1);
  CHECK(test::same_bits(weight, weight_before));
  CHECK(test::max_diff(gain, gain_before) > 1e-4);
}
