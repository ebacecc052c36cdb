#include "ffn/ffn.h"
#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

BuiltMixer built(const char* type, std::string_view options, int64_t layers = 2) {
  return {all_ffns.find(type), options, 48, 0, layers};
}

}  // namespace

TEST_CASE("perceptrons: widths follow from `expand`, that of swiglu rounded up to a multiple") {
  CHECK(built("mlp", "{}")["up.weight"].shape == Shape{192, 48});
  CHECK(built("mlp", "{expand: 2.51}")["down.weight"].shape == Shape{48, 120});
  CHECK(built("swiglu", "{}")["gate_up.weight"].shape == Shape{256, 48});
  CHECK(built("swiglu", "{multiple_of: 100}")["down.weight"].shape == Shape{48, 200});
  CHECK(built("swiglu", "{multiple_of: 64}")["down.weight"].shape == Shape{48, 128});
}

TEST_CASE("pattention: keys start with 0.02, values smaller in deeper and wider models, and nothing else is learned") {
  for (int64_t layers : {1, 12}) {
    const BuiltMixer m = built("pattention", "{}", layers);
    CHECK(m["keys.weight"].shape == Shape{192, 48});
    CHECK(m["values.weight"].shape == Shape{48, 192});
    CHECK(m["values.weight"].traits.role == Role::residual);
    CHECK(m.store.sorted().size() == 2);
    CHECK(m.undecayed().empty());
    m.check_deviation("keys.weight", 0.02, 0.05);
    m.check_deviation("values.weight", 2 / (static_cast<double>(layers) * std::sqrt(48.0)), 0.05);
  }
}

TEST_CASE("pattention: a token of zeros stays finite, options that would do nothing are refused") {
  const BuiltMixer m = built("pattention", "{tokens: 5}");
  CHECK(max_abs(m.forward(Tensor::zeros({1, 2, 48}, DType::f64))) == 0);
  for (const char* kind : {"gelu", "softmax"})
    CHECK_THROWS_WITH_AS(built("pattention", std::string("{scale_tokens: 5, nonlinearity: ") + kind + "}"),
                         doctest::Contains("scale_tokens does nothing"), ConfigError);
  CHECK_THROWS_WITH_AS(built("pattention", "{norm_eps: 1e-6, scale_tokens: 5, nonlinearity: scaled_gelu}"),
                       doctest::Contains("norm_eps does nothing"), ConfigError);
}

TEST_CASE("perceptrons: weights start with 0.02 and decay, mlp's last one as GPT-2's, smaller by the root of depth") {
  for (const bool mlp : {true, false})
    for (int64_t layers : {1, 12}) {
      const BuiltMixer m = built(mlp ? "mlp" : "swiglu", mlp ? "{bias: true}" : "{}", layers);
      const double last = mlp ? 0.02 / std::sqrt(2.0 * static_cast<double>(layers)) : 0.02;
      for (const Parameter* p : m.store.sorted()) {
        const bool weight = p->name.ends_with(".weight");
        CHECK(p->traits.decay == weight);
        CHECK((p->traits.role == Role::residual) == (p->name == "down.weight"));
        m.check_deviation(p->name, p->name == "down.weight" ? last : weight ? 0.02 : 0, 0.05);
      }
    }
}
