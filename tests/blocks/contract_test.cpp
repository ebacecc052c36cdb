// Every block, because it is in the list.
#include <doctest/doctest.h>

#include "blocks/block.h"
#include "config/yaml.h"
#include "support/contract.h"

using namespace effllm;
using namespace effllm::test;

#define ENTRY(name) \
  TEST_CASE("block " #name ": keeps the contract") { check_contract(all_blocks.find(#name)); }
#include "lists/blocks.def"
#undef ENTRY

#define ENTRY(name) \
  TEST_CASE("block " #name ": golden values") { check_golden(all_blocks.find(#name), "block"); }
#include "lists/blocks.def"
#undef ENTRY

TEST_CASE("blocks: every one keeps the contract around attention that sees both sides") {
  for (const LayerInfo* b : all_blocks) {
    CAPTURE(b->name);
    LayerInfo both = *b;
    const std::string options = to_flow_yaml(
        merge(parse_config(b->tiny, "tiny"), parse_config("{mixer: {type: attention, heads: 2}}", "both")));
    both.causal_form = false;
    both.waivers.split = both.waivers.causal = "a token needs those after it";
    both.tiny = both.needs = options;
    both.variants = {};
    check_contract(both);
  }
}
