#include "mixers/built_mixer.h"

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
