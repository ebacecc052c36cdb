#include <doctest/doctest.h>

#include <cmath>

#include "ffn/ffn.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

struct Built {
  ParamStore store;
  std::unique_ptr<Layer> mixer;
  explicit Built(std::string_view yaml, int64_t width = 48, int64_t layers = 2) {
    mixer = all_ffns.read(parse_config(yaml, "test"))
                .build({.d_model = width, .layer = 0, .layers = layers, .max_tokens = 8}, Scope(store, ""));
    store.materialize(3, DType::f64);
  }
  const Parameter& operator[](std::string_view name) const {
    const Parameter* p = store.find(name);
    REQUIRE_MESSAGE(p != nullptr, std::string(name));
    return *p;
  }
  double spread(std::string_view name) const {
    const Tensor& v = (*this)[name].value;
    return std::sqrt(dot(v, v) / static_cast<double>(v.numel()));
  }
};

}  // namespace

TEST_CASE("perceptrons: widths follow from `expand`, that of swiglu rounded up to a multiple") {
  CHECK(Built("{type: mlp}")["up.weight"].shape == Shape{192, 48});
  CHECK(Built("{type: mlp, expand: 2.51}")["down.weight"].shape == Shape{48, 120});
  CHECK(Built("{type: swiglu}")["gate_up.weight"].shape == Shape{256, 48});
  CHECK(Built("{type: swiglu, multiple_of: 100}")["down.weight"].shape == Shape{48, 200});
  CHECK(Built("{type: swiglu, multiple_of: 64}")["down.weight"].shape == Shape{48, 128});
}

TEST_CASE("perceptrons: weights start with 0.02 and decay, mlp's last one as GPT-2's, smaller by the root of depth") {
  for (const auto& [yaml, layers] : std::vector<std::pair<std::string, int64_t>>{{"{type: mlp, bias: true}", 1},
                                                                                 {"{type: mlp, bias: true}", 12},
                                                                                 {"{type: swiglu}", 1},
                                                                                 {"{type: swiglu}", 12}}) {
    const Built m(yaml, 48, layers);
    const double last = yaml == "{type: swiglu}" ? 0.02 : 0.02 / std::sqrt(2.0 * static_cast<double>(layers));
    for (const Parameter* p : m.store.sorted()) {
      const bool weight = p->name.ends_with(".weight");
      CHECK(p->traits.decay == weight);
      CHECK((p->traits.role == Role::residual) == (p->name == "down.weight"));
      CHECK(m.spread(p->name) == doctest::Approx(p->name == "down.weight" ? last : weight ? 0.02 : 0).epsilon(0.05));
    }
  }
}
