#include "ffn/ffn.h"
#include "mixers/built_mixer.h"
#include "support/close.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("rwkv6: ramps over channels and depth are RWKV-LM's") {
  constexpr int64_t D = 64, layers = 4;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const BuiltMixer m("rwkv6", "{}", D, layer, layers);
    const double deep = static_cast<double>(layer) / 3, shallow = 1 - static_cast<double>(layer) / 4;
    const auto value = [&](std::string_view name, int64_t r, int64_t c) { return at(m[name].value, r, c); };
    for (int64_t c = 0; c < D; ++c) {
      const double x = static_cast<double>(c) / D, y = static_cast<double>(c) / (D - 1);
      const double usual = 1 - std::pow(x, shallow), strong = 1 - std::pow(x, shallow / 2);
      CHECK(std::abs(value("mix_x", 0, c) - usual) < 1e-15);
      const double parts[] = {usual, usual, usual - 0.3 * deep, strong, strong};  // w, k, v, r, g
      for (int64_t i = 0; i < 5; ++i) CHECK(std::abs(value("mix", i, c) - parts[i]) < 1e-15);
      CHECK(close(value("decay_base", 0, c), -6 + 5 * std::pow(y, 0.7 + 1.3 * deep), 1e-14));
      const double zigzag = c % 3 == 0 ? 0 : c % 3 == 1 ? 0.1 : -0.1;
      CHECK(std::abs(value("bonus", 0, c) - (deep * (1 - y) + zigzag)) < 1e-15);
    }
    CHECK(m.all("group_norm.weight", std::pow(static_cast<double>(layer + 1) / 4, 0.7)));
  }
}

TEST_CASE("rwkv6: what starts at zero, what is small, what does not decay, what learns faster") {
  const BuiltMixer m("rwkv6", "{}", 64);
  for (const char* name : {"mix_down.weight", "decay_down.weight", "group_norm.bias", "out.weight"})
    CHECK(m.all(name, 0));
  for (const char* name : {"mix_up.weight", "decay_up.weight"}) m.check_uniform(name, 0.01, 0.99);
  CHECK(m.undecayed() == std::vector<std::string>{"bonus", "decay_base", "decay_down.weight", "decay_up.weight",
                                                  "group_norm.bias", "group_norm.weight", "mix", "mix_down.weight",
                                                  "mix_up.weight", "mix_x"});
  for (const Parameter* p : m.store.sorted()) CHECK(p->traits.lr_scale == (p->name == "decay_base" ? 2 : 1));
  m.check_deviation("r.weight", 1.0 / 8, 0.05);
  m.check_deviation("v.weight", 1.0 / 8, 0.05);
  m.check_deviation("k.weight", 0.1 / 8, 0.05);
  m.check_deviation("g.weight", 0.1 / 8, 0.05);
}

TEST_CASE("rwkv6: parameters, state and work in closed form") {
  constexpr int64_t D = 8, n = 4, R = 3, Rd = 2;
  const BuiltMixer m("rwkv6", "{head_dim: 4, shift_rank: 3, decay_rank: 2}", D);
  CHECK(m.store.count() == 5 * D * D + 10 * R * D + 2 * Rd * D + (1 + 5 + 1 + 1 + 2) * D);
  for (int64_t tokens : {1, 100, 100000}) CHECK(m.bytes(tokens) == 4 * (D * n + D));
  constexpr int64_t token = 3 * D + 2 * D * 5 * R + 8 * 5 * R + 2 * 5 * R * D  // what the shift depends on
                            + 4 * 5 * D + 8 * D * D                            // shifted inputs; r, k, v, g
                            + 4 * Rd * D + 8 * Rd + D + 8 * D + D              // decay
                            + 4 * D * n + 5 * D + 7 * D                        // core, bonus, norm
                            + 8 * D + D + 2 * D * D;                           // gate, output
  CHECK(m.forward_flops(2, 6, D) == 12.0 * token);
  CHECK_THROWS_AS(BuiltMixer("rwkv6", "{head_dim: 3}", D), ConfigError);
}

TEST_CASE("rwkv_channel_mix: starts as RWKV-LM's, with parameters, state and work in closed form") {
  constexpr int64_t D = 8, F = 28, layers = 4;
  for (int64_t layer = 0; layer < layers; ++layer) {
    const BuiltMixer m(all_ffns.find("rwkv_channel_mix"), "{}", D, layer, layers);
    for (const char* name : {"mix_k", "mix_r"})
      for (int64_t c = 0; c < D; ++c)
        CHECK(std::abs(at(m[name].value, 0, c) -
                       (1 - std::pow(static_cast<double>(c) / D, std::pow(1 - static_cast<double>(layer) / 4, 3)))) <
              1e-15);
    for (const char* name : {"receptance.weight", "value.weight"}) CHECK(m.all(name, 0));
    CHECK(m.undecayed() == std::vector<std::string>{"mix_k", "mix_r"});
    CHECK(m.store.count() == 2 * D + 2 * D * F + D * D);
    for (int64_t tokens : {1, 100, 100000}) CHECK(m.bytes(tokens) == 4 * D);
    CHECK(m.forward_flops(2, 6, D) == 12.0 * (6 * D + 4 * D * F + 2 * D * D + F + 8 * D + D));
  }
}
