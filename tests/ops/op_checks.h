// What every op promises, in one call each. `f` runs the op; inputs are f64 (integers and undefined ones pass through).
#pragma once
#include <doctest/doctest.h>

#include <cmath>

#include "support/tensors.h"

namespace effllm::test {

// Outputs, then the gradients of all float inputs for random output gradients.
Tensors outputs_and_gradients(const Function& f, const Tensors& inputs);
// The float inputs in another type.
Tensors inputs_as(const Tensors& inputs, DType type);

// The full Jacobian against central differences, also where a gradient is already there and where only one input is
// tracked; a meta run has the shapes, costs and kept bytes of a real one; f32 is near f64.
void expect_sound(const Function& f, const Tensors& inputs);
// Gradients of all inputs through all results, through each result alone, and of each input alone.
void expect_gradients(const Function& f, const Tensors& inputs);
// Every |a - b| below bound (1 + largest |b|); types may differ.
void expect_near(const Tensors& a, const Tensors& b, double bound);
void expect_same_bits(const Tensors& a, const Tensors& b);
// run(from, to, state) gives the outputs of tokens [from, to), [B, T, C], then the state after them: the same for the
// whole, cut in two anywhere, token by token and in pieces of about 16, up to bound (1 + largest number).
using Part = std::function<Tensors(int64_t from, int64_t to, const Tensors& state)>;
void expect_same_in_parts(const Part& run, const Tensors& state, int64_t n, double bound);
// The same bits for 1, 2 and 3 threads and inside a worker, in f32.
void expect_same_bits_on_threads(const Function& f, const Tensors& inputs);

}  // namespace effllm::test
