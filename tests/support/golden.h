// The files of tests/golden, which scripts/golden wrote.
#pragma once
#include <functional>

#include "store/safetensors.h"
#include "tensor/tensor.h"

namespace effllm::test {

// f(file) for every tests/golden/<name>.*.safetensors, all of which must be of this kind, and one there must be.
void for_each_golden(std::string_view name, std::string_view kind,
                     const std::function<void(const SafetensorsFile&)>& f);
// A tensor of f64 or i64; the test ends where there is none of this name.
Tensor golden_tensor(const SafetensorsFile& file, const std::string& name);

}  // namespace effllm::test
