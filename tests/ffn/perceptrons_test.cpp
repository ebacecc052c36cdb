#include <doctest/doctest.h>

#include <cmath>

#include "ffn/ffn.h"
#include "support/tensors.h"

using namespace effllm;

namespace {

struct Built {
  ParamStore store;
  std::unique_ptr<ChannelMixer> mixer;
  explicit Built(std::string_view yaml, int64_t width = 48) {
    mixer = build_ffn(parse_config(yaml, "test"), {.d_model = width, .layer = 0, .layers = 2, .max_tokens = 8},
                      Scope(store, ""));
    store.materialize(3, DType::f64);
  }
  const Parameter& operator[](std::string_view name) const {
    const Parameter* p = store.find(name);
    REQUIRE_MESSAGE(p != nullptr, std::string(name));
    return *p;
  }
  double spread(std::string_view name) const {
    const Tensor& v = (*this)[name].value;
    return std::sqrt(test::dot(v, v) / static_cast<double>(v.numel()));
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

TEST_CASE("perceptrons: weights start with 0.02 and decay, the last ones write to the residual stream") {
  for (const char* yaml : {"{type: mlp, bias: true}", "{type: swiglu}"}) {
    const Built m(yaml);
    for (const Parameter* p : m.store.sorted()) {
      const bool weight = p->name.ends_with(".weight");
      CHECK(p->traits.decay == weight);
      CHECK((p->traits.role == Role::residual) == (p->name == "down.weight"));
      CHECK(m.spread(p->name) == doctest::Approx(weight ? 0.02 : 0).epsilon(0.05));
    }
  }
}
