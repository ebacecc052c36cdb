// Which matrices stand in the weights of models: what optimizers of matrices take one by one.
#include <doctest/doctest.h>

#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "support/models.h"

using namespace effllm;

namespace {

using Rows = std::vector<int64_t>;

// The matrices of a parameter of one mixer or channel mixer of width 8.
Rows matrices(std::string_view mechanism, std::string_view parameter, bool ffn = false) {
  ParamStore store;
  const LayerArgs args{.d_model = 8, .layer = 0, .layers = 1, .max_tokens = 16};
  const ConfigNode node = parse_config(mechanism, "m.yaml");
  (ffn ? all_ffns : all_mixers).read(node).build(args, Scope(store));
  store.as_meta(DType::f32);
  REQUIRE(store.find(parameter));
  return store.find(parameter)->traits.matrices;
}

}  // namespace

TEST_CASE("matrices: every weight of a product has some, of every mechanism, vectors and filters have none") {
  const auto check = [](const LayerInfo& info, bool ffn) {
    CAPTURE(info.name);
    ParamStore store;
    ConfigNode node = parse_config(info.tiny, "tiny");
    if (!node.is_map()) node = ConfigNode::map();
    node.set("type", info.name);
    const LayerArgs args{.d_model = 8, .layer = 0, .layers = 1, .max_tokens = 16};
    (ffn ? all_ffns : all_mixers).read(node).build(args, Scope(store));
    store.as_meta(DType::f32);
    for (const Parameter* p : store.sorted()) {
      CAPTURE(p->name);
      const Traits& t = p->traits;
      if (t.dense || t.role != Role::own || p->name.find("recurrent.weight") != std::string::npos)
        CHECK_FALSE(t.matrices.empty());
      if (p->shape.rank() != 2 || p->name.find("conv") != std::string::npos) CHECK(t.matrices.empty());
    }
  };
  for (const LayerInfo* m : all_mixers) check(*m, false);
  for (const LayerInfo* m : all_ffns) check(*m, true);
}

TEST_CASE("matrices: parts that stand side by side are apart") {
  CHECK(matrices("{type: attention, heads: 4, kv_heads: 1}", "qkv.weight") == Rows{8, 2, 2});
  CHECK(matrices("{type: attention, heads: 4}", "out.weight") == Rows{8});
  CHECK(matrices("{type: gla, heads: 2, expand_k: 0.5}", "qkvg.weight") == Rows{4, 4, 8, 8});
  CHECK(matrices("{type: gated_delta, heads: 2}", "gates.weight") == Rows{2, 2});
  CHECK(matrices("{type: nsa, heads: 4, kv_heads: 2, head_dim: 2}", "kv.weight") == Rows(6, 4));
  CHECK(matrices("{type: mamba2, expand: 2, head_dim: 4, state: 3, groups: 2}", "in.weight") == Rows{16, 16, 6, 6, 4});
  CHECK(matrices("{type: mamba, expand: 2, dt_rank: 3, state: 5}", "x_proj.weight") == Rows{3, 5, 5});
  CHECK(matrices("{type: lstm}", "recurrent.weight") == Rows(4, 8));
  CHECK(matrices("{type: gru}", "in.weight") == Rows(3, 8));
  CHECK(matrices("{type: rg_lru, blocks: 4}", "input_gate.weight") == Rows(4, 2));
  CHECK(matrices("{type: rwkv6, head_dim: 4, shift_rank: 3}", "mix_down.weight") == Rows(5, 3));
  CHECK(matrices("{type: rwkv6, head_dim: 4, shift_rank: 3}", "mix_up.weight") == Rows(5, 8));
  CHECK(matrices("{type: swiglu, expand: 3}", "gate_up.weight", true) == Rows{24, 24});
  CHECK(matrices("{type: attention, projection: {type: pattention, tokens: 5}}", "qkv.k.keys.weight") == Rows{5});
  CHECK(matrices("{type: pattention, tokens: 5}", "values.weight", true) == Rows{8});
}

TEST_CASE("matrices: embeddings, positions and heads have none, tied or not") {
  for (const char* tied : {"true", "false"}) {
    const auto model = test::build_model(std::string("{d_model: 8, positions: learned, tie_embeddings: ") + tied +
                                             ", layers: [{mixer: {type: attention, heads: 2}}]}",
                                         11);
    for (const Parameter* p : model->params().sorted())
      CHECK((p->name.starts_with("layers.") && p->shape.rank() == 2) == !p->traits.matrices.empty());
  }
}

TEST_CASE("matrices: those that don't make up the weight are refused") {
  ParamStore store;
  CHECK_THROWS_WITH_AS(store.add("a", {5, 4}, Init::zeros(), {.matrices = {2, 2}}),
                       doctest::Contains("matrices of `a`"), ShapeError);
  CHECK_THROWS_AS(store.add("b", {5}, Init::zeros(), {.matrices = {5}}), ShapeError);
  CHECK_THROWS_AS(store.add("c", {5, 1, 1}, Init::zeros(), {.matrices = {5}}), ShapeError);
}
