// Every channel mixer, because it is in the list.
#include <doctest/doctest.h>

#include "ffn/ffn.h"
#include "support/contract.h"

using namespace effllm;

#define EFFLLM_FFN(id) \
  TEST_CASE("ffn " #id ": keeps the contract") { test::check_contract(ffns::id); }
#include "ffn/all.def"
#undef EFFLLM_FFN

#define EFFLLM_FFN(id) \
  TEST_CASE("ffn " #id ": golden values") { test::check_golden(ffns::id, "ffn"); }
#include "ffn/all.def"
#undef EFFLLM_FFN
