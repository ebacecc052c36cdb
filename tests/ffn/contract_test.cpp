// Every channel mixer, because it is in the list.
#include <doctest/doctest.h>

#include "ffn/ffn.h"
#include "support/contract.h"

using namespace effllm;
using namespace effllm::test;

#define ENTRY(name)                                                                        \
  TEST_CASE("ffn " #name ": keeps the contract") { check_contract(all_ffns.find(#name)); } \
  TEST_CASE("ffn " #name ": golden values") { check_golden(all_ffns.find(#name), "ffn"); }
#include "lists/ffns.def"
#undef ENTRY
