#include "optim/orthogonal.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "kernels/gemm.h"
#include "kernels/optimizer.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

constexpr int64_t kBlock = 16384;  // elements

// y_i = f(i) for all i < n.
template <class F>
void each(int64_t n, F&& f) {
  parallel_for(n, kBlock, [&](int64_t from, int64_t to) {
    for (int64_t i = from; i < to; ++i) f(i);
  });
}

}  // namespace

const Orthogonal::Quintic Orthogonal::kJordan{3.4445, -4.7750, 2.0315};

// arXiv:2505.16932, listing 1, as NoahAmsel/PolarExpress@7f0fb57 has them in polar_express/basic.py: the last repeats,
// those before it are for values up to kSafety.
const Orthogonal::Quintic Orthogonal::kPolarExpress[8] = {
    {8.28721201814563, -23.595886519098837, 17.300387312530933},
    {4.107059111542203, -2.9478499167379106, 0.5448431082926601},
    {3.9486908534822946, -2.908902115962949, 0.5518191394370137},
    {3.3184196573706015, -2.488488024314874, 0.51004894012372},
    {2.300652019954817, -1.6689039845747493, 0.4188073119525673},
    {1.891301407787398, -1.2679958271945868, 0.37680408948524835},
    {1.8750014808534479, -1.2500016453999487, 0.3750001645474248},
    {1.875, -1.25, 0.375},
};

Orthogonal::Orthogonal(const std::string& coefficients, int64_t steps, double eps)
    : clamp_(coefficients == "quintic"), eps_(eps) {
  constexpr double kSafety = 1.01;  // rounding may lift the largest value above 1
  if (!clamp_) widen_ = kSafety;
  for (int64_t i = 0; i < steps; ++i) {
    Quintic q = clamp_ ? kJordan : kPolarExpress[std::min<int64_t>(i, 7)];
    if (!clamp_ && i < 7) q = {q.a / kSafety, q.b / std::pow(kSafety, 3), q.c / std::pow(kSafety, 5)};
    steps_.push_back(q);
  }
}

int64_t Orthogonal::scratch(int64_t rows, int64_t columns) {
  const int64_t least = std::min(rows, columns);
  return rows * columns + 2 * least * least;
}

double Orthogonal::flops(int64_t rows, int64_t columns) const {
  const auto least = static_cast<double>(std::min(rows, columns)), most = static_cast<double>(std::max(rows, columns));
  return static_cast<double>(steps_.size()) * 2 * least * least * (2 * most + least);
}

template <class T>
T* Orthogonal::operator()(T* x, int64_t rows, int64_t columns, T* scratch) const {
  const int64_t n = rows * columns, least = std::min(rows, columns);
  const bool wide = rows <= columns;
  T *y = scratch, *gram = scratch + n, *square = gram + least * least;
  const double norm = std::sqrt(kernel::sum_of_squares<T>(x, n));
  const T shrink = static_cast<T>(1 / (clamp_ ? std::max(norm, eps_) : widen_ * norm + eps_));
  each(n, [&](int64_t i) { x[i] *= shrink; });
  for (const Quintic& q : steps_) {
    // The smaller of X X^T and X^T X, and its polynomial: X' = (a + b G + c G^2) X.
    const T a = static_cast<T>(q.a), b = static_cast<T>(q.b), c = static_cast<T>(q.c);
    parallel_gemm(!wide, wide, least, least, wide ? columns : rows, x, columns, x, columns, gram, least, false);
    parallel_gemm(false, false, least, least, least, gram, least, gram, least, square, least, false);
    each(least * least, [&](int64_t i) { square[i] = b * gram[i] + c * square[i]; });
    each(n, [&](int64_t i) { y[i] = a * x[i]; });
    if (wide)
      parallel_gemm(false, false, rows, columns, rows, square, rows, x, columns, y, columns, true);
    else
      parallel_gemm(false, false, rows, columns, columns, x, columns, square, columns, y, columns, true);
    std::swap(x, y);
  }
  return x;
}

template float* Orthogonal::operator()(float*, int64_t, int64_t, float*) const;
template double* Orthogonal::operator()(double*, int64_t, int64_t, double*) const;

}  // namespace effllm
