// The nearest orthogonal matrix, nearly: Newton and Schulz's iteration, products alone. Of X = U S V^T it makes U f(S)
// V^T, where f, a composition of odd polynomials, brings every singular value near 1.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace effllm {

class Orthogonal {
 public:
  // `coefficients`: "quintic", the same polynomial in each step (Jordan 2024; values end anywhere in 0.7 to 1.2), or
  // "polar_express", the best for each step (Amsel et al. 2025; they tend to 1).
  // `eps`: where the norm of a matrix is not far above it, values stay below that.
  Orthogonal(const std::string& coefficients, int64_t steps, double eps);

  // x [rows, columns], without padding, and room for scratch(rows, columns) numbers, which must not overlap. The result
  // stands in either; the pointer says where. Threads share the products; the bits don't depend on them.
  template <class T>
  T* operator()(T* x, int64_t rows, int64_t columns, T* scratch) const;
  static int64_t scratch(int64_t rows, int64_t columns);
  double flops(int64_t rows, int64_t columns) const;

 private:
  struct Quintic {
    double a, b, c;  // s -> a s + b s^3 + c s^5
  };
  static const Quintic kJordan, kPolarExpress[8];

  std::vector<Quintic> steps_;
  bool clamp_;  // the norm is at least eps; otherwise eps is added to it
  double widen_ = 1, eps_;
};

}  // namespace effllm
