// The values that a parameter starts with.
#pragma once
#include <string>

#include "nn/param_store.h"

namespace effllm {

// A function of the seed, the parameter's name and the place in it, the same bits for any threads and instruction set.
void initialise(const std::string& name, const Init& init, const Tensor& value, uint64_t seed);

}  // namespace effllm
