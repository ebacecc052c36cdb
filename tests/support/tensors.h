// Tensors for tests: random ones, comparisons, pieces.
#pragma once
#include <functional>
#include <vector>

#include "autodiff/tape.h"
#include "kernels/parallel.h"
#include "tensor/tensor.h"

namespace effllm::test {

using Tensors = std::vector<Tensor>;

// Standard normal numbers (times `scale`), a function of the seed alone.
Tensor random(const Shape& s, uint64_t seed, DType t = DType::f64, double scale = 1);
// i64 numbers, row by row.
Tensor integers(const Shape& s, const std::vector<int64_t>& values);
// Ids in [0, 11) of tokens x [B, T, C], i32 [B, T]: the first number of each decides, however x is cut.
Tensor ids_of(const Tensor& x);
double at(const Tensor& t, int64_t row, int64_t col);
void put(const Tensor& t, int64_t row, int64_t col, double v);
// Largest |a - b|; NaN anywhere counts as infinity. Shapes must agree.
double max_diff(const Tensor& a, const Tensor& b);
double max_abs(const Tensor& a);
bool same_bits(const Tensor& a, const Tensor& b);
double dot(const Tensor& a, const Tensor& b);
Tensor to_dtype(const Tensor& t, DType type);
// x with f of each number, in place.
Tensor mapped(const Tensor& x, const std::function<double(double)>& f);
// x[:, from:to] of [B, T, C], a copy; undefined where x is.
Tensor tokens(const Tensor& x, int64_t from, int64_t to);
// The document starts of rows, i64 [B, T], as a call with tokens [from, to) is given them; undefined where they are.
Tensor segments_of_call(const Tensor& segments, int64_t from, int64_t to);
// So many threads while alive: with tiny tensors, more of them only wait for each other.
struct Threads {
  explicit Threads(int n) { set_threads(n); }
  ~Threads() { set_threads(before); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;
  int before = threads();
};
// The document of token t of row b; 0 before the row, and where there are no documents.
int64_t document_of(const Tensor& segments, int64_t b, int64_t t);
inline bool starts(const Tensor& segments, int64_t b, int64_t t) {
  return document_of(segments, b, t) != document_of(segments, b, t - 1);
}
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
