// One pass over slabs: the norm of a gradient, and AdamW (Loshchilov and Hutter 2019).
#include "kernels/optimizer.h"
#include "kernels/isa/sums.h"

namespace effllm::EFFLLM_ISA {
namespace {

template <class T>
double sum_of_squares(const T* x, int64_t n) noexcept {
  constexpr int64_t kLane = kLanes<double>;
  typedef T Part __attribute__((vector_size(kLane * sizeof(T)), aligned(sizeof(T)), may_alias));
  Sum<double> s;
  int64_t i = 0;
  for (; i + kLane <= n; i += kLane) {
    const Vec<double> v = __builtin_convertvector(*reinterpret_cast<const Part*>(x + i), Vec<double>);
    s.add(v, v);
  }
  for (; i < n; ++i) s.add(static_cast<double>(x[i]), static_cast<double>(x[i]));
  return s.value();
}

// Decoupled decay, then the step with bias-corrected moments: PyTorch's order of operations.
template <class T>
void adamw(const AdamwArgs& args, int64_t n, const T* grad, T* value, T* m, T* v) noexcept {
  const T b1 = static_cast<T>(args.beta1), b2 = static_cast<T>(args.beta2), g_scale = static_cast<T>(args.grad_scale);
  const T rest1 = static_cast<T>(1 - args.beta1), rest2 = static_cast<T>(1 - args.beta2);  // not 1 - T(beta2): 1e-5 off
  const T decay = static_cast<T>(1 - args.lr * args.weight_decay), step = static_cast<T>(args.lr / args.bias1);
  const T root_bias2 = static_cast<T>(1 / __builtin_sqrt(args.bias2)), eps = static_cast<T>(args.eps);
#pragma omp simd
  for (int64_t i = 0; i < n; ++i) {
    const T g = grad[i] * g_scale;
    m[i] = mul_add(b1, m[i], rest1 * g);
    v[i] = mul_add(b2, v[i], rest2 * g * g);
    value[i] = mul_add(value[i], decay, -step * m[i] / mul_add(root(v[i]), root_bias2, eps));
  }
}

}  // namespace

void fill_optimizer() {
  EFFLLM_SET(sum_of_squares, sum_of_squares);
  EFFLLM_SET(adamw, adamw);
}

}  // namespace effllm::EFFLLM_ISA
