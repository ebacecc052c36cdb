// The contract of sequence mixers and channel mixers, checked for every mechanism of a list.
#pragma once
#include "nn/layer.h"

namespace effllm::test {

// Runs every check of the contract on the `tiny` options and on each variant, and the splits once on the defaults.
void check_contract(const LayerInfo& info);
// Every tests/golden/<kind>.<variant>.safetensors of this mechanism, forward in f64, to 1e-10; gradients to 1e-9, where
// it has them.
void check_golden(const LayerInfo& info, std::string_view kind);

}  // namespace effllm::test
