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
