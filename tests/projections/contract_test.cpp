// Every kind of projection, because it is in the list.
#include <doctest/doctest.h>

#include "projections/projection.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("projections: each gives what reads its input the widths asked for, under the names given") {
  const LayerArgs layer{.d_model = 6, .layer = 0, .layers = 2, .max_tokens = 8};
  const std::vector<ProjectionArgs::Part> two = {{"a", 3}, {"b", 5}}, one = {{"a", 4}};
  for (const ProjectionInfo* info : all_projections) {
    CAPTURE(info->name);
    const Choice<ProjectionInfo> choice(all_projections, info->name);
    for (const auto& parts : {two, one}) {
      ParamStore store;
      const auto built =
          choice.build({.layer = layer, .in = 6, .parts = parts, .init = Init::gpt2()}, Scope(store, "p."));
      store.materialize(1, DType::f64);
      for (const Parameter* p : store.sorted()) {
        CHECK(p->name.starts_with("p."));
        CHECK(p->name.starts_with("p.a.") <= (parts.size() > 1));  // one that is alone does without its name
        CHECK(p->traits.role == Role::hidden);
      }
      const Tensor x = random({2, 3, 6}, 1);
      const std::vector<Tensor> y = (*built)(x);
      REQUIRE(y.size() == parts.size());
      for (size_t i = 0; i < y.size(); ++i) CHECK(y[i].shape() == Shape{2, 3, parts[i].width});
    }
  }
}
