// What every op promises, in one call each. `f` runs the op; inputs are f64 (integers and undefined ones pass through).
#pragma once
#include "support/tensors.h"

namespace effllm::test {

// Outputs, then the gradients of all float inputs for random output gradients.
Tensors outputs_and_gradients(const Function& f, const Tensors& inputs);
// The float inputs in another type.
Tensors inputs_as(const Tensors& inputs, DType type);

// The full Jacobian against central differences, also where a gradient is already there and where only one input is
// tracked; a meta run has the shapes, costs and kept bytes of a real one; f32 is near f64.
void expect_sound(const Function& f, const Tensors& inputs);
// The same bits for 1, 2 and 3 threads and inside a worker, in f32.
void expect_same_bits_on_threads(const Function& f, const Tensors& inputs);

}  // namespace effllm::test
