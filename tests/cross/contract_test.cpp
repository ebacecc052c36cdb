// Every mixer that reads an encoder, because it is in the list.
#include <doctest/doctest.h>

#include "blocks/block.h"
#include "cross/cross.h"
#include "support/contract_parts.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("cross: every one reads a memory and says so, and keeps the contract as a part of a block") {
  for (const LayerInfo* cross : all_crosses) {
    CAPTURE(cross->name);
    CHECK(cross->reads_memory);
    ConfigNode options = parse_config(cross->tiny, "tiny");
    options.set("type", cross->name);
    LayerInfo block = all_blocks.find(kDefaultBlock);
    const std::string tiny = "{mixer: min_gru, cross: " + to_flow_yaml(options) + "}";
    block.tiny = tiny;
    block.variants = {};
    check_contract(block);
  }
}

TEST_CASE("cross: a block's memory has a gradient, none of it for the rows behind each text, which count for nothing") {
  const Built m(all_blocks.find("residual"),
                parse_config("{mixer: min_gru, cross: {type: attention, heads: 2, kv_heads: 1}, ffn: mlp}", "t"), 8,
                DType::f64);
  const Tensor x = random({2, 4, 8}, 1), rows = random({2, 5, 8}, 2), lengths = integers({2}, {2, 5});
  const auto run = [&](const Tensor& in, const Tensor& memory) {
    Context cx;
    cx.memory = {memory, lengths};
    return m.mixer->forward(in, cx);
  };
  Slab slab(m.store.slab_elements(), DType::f64);
  ParamGrads grads = m.store.gradients(slab);
  ParamGrads::current = &grads;
  CHECK(gradient_error([&](const Tensors& in) { return Tensors{run(in[0], in[1])}; }, {x, rows}) < 1e-7);
  ParamGrads::current = nullptr;
  const Tensor changed = rows.clone();
  for (int64_t r = 2; r < 5; ++r)
    for (int64_t c = 0; c < 8; ++c) put(changed, r, c, 1e9);
  CHECK(same_bits(run(x, rows), run(x, changed)));
  CHECK_THROWS_WITH_AS(m.mixer->forward(x, Context()), doctest::Contains("was given none"), Error);
}
