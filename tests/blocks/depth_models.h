// What blocks that read more of earlier layers than their stream promise, seen from a whole model.
#pragma once
#include <string>

namespace effllm::test {

// Layers of a model of width 8. Whole = cut = single tokens, causal, the same gradients to the bit with recomputation,
// and those of central differences.
void check_depth_model(const std::string& layers);

}  // namespace effllm::test
