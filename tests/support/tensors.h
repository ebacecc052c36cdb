// Tensors for tests: random ones, comparisons, pieces.
#pragma once
#include <functional>
#include <vector>

#include "autodiff/tape.h"
#include "tensor/tensor.h"

namespace effllm::test {

using Tensors = std::vector<Tensor>;

// Standard normal numbers (times `scale`), a function of the seed alone.
Tensor random(const Shape& s, uint64_t seed, DType t = DType::f64, double scale = 1);
double at(const Tensor& t, int64_t row, int64_t col);
void put(const Tensor& t, int64_t row, int64_t col, double v);
// Largest |a - b|; NaN anywhere counts as infinity. Shapes must agree.
double max_diff(const Tensor& a, const Tensor& b);
double max_abs(const Tensor& a);
bool same_bits(const Tensor& a, const Tensor& b);
double dot(const Tensor& a, const Tensor& b);
Tensor to_dtype(const Tensor& t, DType type);
// x[:, from:to] of [B, T, C], a copy.
Tensor tokens(const Tensor& x, int64_t from, int64_t to);
// Fills freed buffers with NaN while alive.
struct Poison {
  bool before = std::exchange(BufferPool::poison, true);
  ~Poison() { BufferPool::poison = before; }
};

using Function = std::function<Tensors(const Tensors&)>;
// Compares the gradients of `f` (f64) at `inputs` with central differences: every entry of every input for
// sum_o <w_o, f_o> with random w. Returns the largest |analytic - numeric| / max(1, largest |numeric|).
// Undefined inputs and integer inputs pass through.
double gradient_error(const Function& f, const Tensors& inputs, uint64_t seed = 1, double h = 1e-5);

}  // namespace effllm::test
