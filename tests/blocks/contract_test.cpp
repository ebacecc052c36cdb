// Every block, because it is in the list.
#include <doctest/doctest.h>

#include "blocks/block.h"
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
