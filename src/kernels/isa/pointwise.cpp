// Elementwise kernels: activations and their derivatives, sums, products, the gated unit.
#include "kernels/pointwise.h"
#include "kernels/isa/math.h"
#include "kernels/isa/simd.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr double kTanhScale = 0.7978845608028654;  // sqrt(2 / pi), of GELU's tanh form
constexpr double kTanhCubic = 0.044715;
constexpr double kSqrtHalf = 0.7071067811865476;

// One struct per function: f(x) and df(x), the derivative from x alone.
template <class T>
struct Sigmoid {
  static T f(T x) { return sigmoid(x); }
  static T df(T x) {
    const T s = sigmoid(x);
    return s * (T(1) - s);
  }
};
template <class T>
struct Tanh {
  static T f(T x) { return fast_tanh(x); }
  static T df(T x) {
    const T y = fast_tanh(x);
    return mul_sub_from(y, y, T(1));
  }
};
template <class T>
struct Relu {
  static T f(T x) { return x > 0 ? x : T(0); }
  static T df(T x) { return x > 0 ? T(1) : T(0); }
};
template <class T>
struct Relu2 {
  static T f(T x) { return x > 0 ? x * x : T(0); }
  static T df(T x) { return x > 0 ? T(2) * x : T(0); }
};
template <class T>
struct Silu {
  static T f(T x) { return x * sigmoid(x); }
  static T df(T x) {
    const T s = sigmoid(x);
    return mul_add(x * s, T(1) - s, s);
  }
};
template <class T>
struct Gelu {  // x Phi(x) with the exact error function
  static T f(T x) { return T(0.5) * x * (T(1) + fast_erf(x * T(kSqrtHalf))); }
  static T df(T x) {
    const Normal<T> n = normal(x);
    return mul_add(x, n.density, n.below);
  }
};
template <class T>
struct GeluTanh {  // 0.5 (1 + tanh z) = sigmoid(2 z)
  static T f(T x) { return x * sigmoid(T(2 * kTanhScale) * x * mul_add(T(kTanhCubic) * x, x, T(1))); }
  static T df(T x) {
    const T s = sigmoid(T(2 * kTanhScale) * x * mul_add(T(kTanhCubic) * x, x, T(1)));
    return mul_add(x * s * (T(1) - s) * T(2 * kTanhScale), mul_add(T(3 * kTanhCubic) * x, x, T(1)), s);
  }
};
template <class T>
struct Softplus {
  static T f(T x) { return softplus(x); }
  static T df(T x) { return sigmoid(x); }
};
template <class T>
struct LogSigmoid {
  static T f(T x) { return -softplus(-x); }
  static T df(T x) { return sigmoid(-x); }
};
template <class T>
struct Exp {
  static T f(T x) { return fast_exp(x); }
  static T df(T x) { return fast_exp(x); }
};
template <class T>
struct Elu1 {  // elu(x) + 1, positive (Katharopoulos et al. 2020)
  static T f(T x) {
    const T e = fast_exp(x < 0 ? x : T(0));
    return x < 0 ? e : x + T(1);
  }
  static T df(T x) { return fast_exp(x < 0 ? x : T(0)); }
};
template <class T>
struct Reciprocal {
  static T f(T x) { return T(1) / x; }
  static T df(T x) { return T(-1) / (x * x); }
};
// The normal distribution function of mean sqrt(1/2) and deviation sqrt(1/(4 pi)), which follows relu2 (Ma et al. 2022,
// arXiv:2209.10655).
template <class T>
struct Laplace {
  static constexpr double kInverse = 2.5066282746310002;  // 1 / (deviation sqrt 2) = sqrt(2 pi)
  static constexpr double kPeak = 1.4142135623730951;     // of the density
  static T f(T x) { return T(0.5) * (T(1) + fast_erf((x - T(kSqrtHalf)) * T(kInverse))); }
  static T df(T x) {
    const T z = (x - T(kSqrtHalf)) * T(kInverse);
    return T(kPeak) * fast_exp(-z * z);
  }
};

// log of x, or of the smallest normal number where x is less: constant there, so that a weight of 0 has no gradient of
// infinity.
template <class T>
struct Log {
  static constexpr T kLeast = sizeof(T) == 4 ? T(1.17549435e-38) : T(2.2250738585072014e-308);
  static T f(T x) { return fast_log(x > kLeast ? x : kLeast); }
  static T df(T x) { return x > kLeast ? T(1) / x : T(0); }
};

template <class F, class T>
void apply(View<const T> x, View<T> y) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* a = x.row(r);
    T* b = y.row(r);
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) b[c] = F::f(a[c]);
  }
}

template <class F, class T>
void apply_backward(View<const T> x, View<const T> dy, View<T> dx, bool add) {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T *a = x.row(r), *g = dy.row(r);
    put_products(dx.row(r), x.cols, add, [=](int64_t c) { return Factors<T>{F::df(a[c]), g[c]}; });
  }
}

// Calls visit with the struct of `f`; they stand in the order of Pointwise.
template <template <class> class... All, class T, class Visit>
void choose(Pointwise f, T, Visit visit) {
  static_assert(sizeof...(All) == static_cast<size_t>(Pointwise::log) + 1);
  int i = 0;
  ((static_cast<int>(f) == i++ ? visit(All<T>{}) : void()), ...);
}
template <class T, class Visit>
void with_function(Pointwise f, Visit visit) {
  choose<Sigmoid, Tanh, Relu, Relu2, Silu, Gelu, GeluTanh, Softplus, LogSigmoid, Exp, Elu1, Reciprocal, Laplace, Log>(
      f, T(), visit);
}

template <class T>
void pointwise(Pointwise f, View<const T> x, View<T> y) noexcept {
  with_function<T>(f, [&]<class F>(F) { apply<F, T>(x, y); });
}

template <class T>
void pointwise_backward(Pointwise f, View<const T> x, View<const T> dy, View<T> dx, bool add) noexcept {
  with_function<T>(f, [&]<class F>(F) { apply_backward<F, T>(x, dy, dx, add); });
}

template <class T>
void multiply(T alpha, View<const T> a, View<const T> b, View<T> y, bool add) noexcept {
  for (int64_t r = 0; r < a.rows; ++r) {
    const T *p = a.row(r), *q = b.row(r);
    put_products(y.row(r), a.cols, add, [=](int64_t c) { return Factors<T>{alpha * p[c], q[c]}; });
  }
}

template <class T>
void scale(T alpha, View<const T> a, View<T> y, bool add) noexcept {
  for (int64_t r = 0; r < a.rows; ++r) {
    const T* p = a.row(r);
    put_products(y.row(r), a.cols, add, [=](int64_t c) { return Factors<T>{alpha, p[c]}; });
  }
}

template <class T>
void sum(View<const T> a, View<const T> b, View<T> y) noexcept {
  for (int64_t r = 0; r < a.rows; ++r) {
    const T *p = a.row(r), *q = b.row(r);
    T* o = y.row(r);
#pragma omp simd
    for (int64_t c = 0; c < a.cols; ++c) o[c] = p[c] + q[c];
  }
}

template <class T>
void add_row(View<const T> x, const T* row, View<T> y) noexcept {
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* p = x.row(r);
    T* o = y.row(r);
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) o[c] = p[c] + row[c];
  }
}

template <class T>
void column_sum(View<const T> x, T* total, bool add) noexcept {
  begun(total, x.cols, add);
  for (int64_t r = 0; r < x.rows; ++r) {
    const T* p = x.row(r);
#pragma omp simd
    for (int64_t c = 0; c < x.cols; ++c) total[c] += p[c];
  }
}

template <class T>
void swiglu(View<const T> gate_up, View<T> y) noexcept {
  const int64_t width = y.cols;
  for (int64_t r = 0; r < y.rows; ++r) {
    const T *gate = gate_up.row(r), *up = gate + width;
    T* o = y.row(r);
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) o[c] = Silu<T>::f(gate[c]) * up[c];
  }
}

template <class T>
void swiglu_backward(View<const T> gate_up, View<const T> dy, View<T> d_gate_up, bool add) noexcept {
  const int64_t width = dy.cols;
  for (int64_t r = 0; r < dy.rows; ++r) {
    const T *gate = gate_up.row(r), *up = gate + width, *g = dy.row(r);
    T *d_gate = begun(d_gate_up.row(r), 2 * width, add), *d_up = d_gate + width;
    const T keep = add ? T(1) : T(0);
#pragma omp simd
    for (int64_t c = 0; c < width; ++c) {
      const T s = sigmoid(gate[c]), act = gate[c] * s;
      d_gate[c] = mul_add(keep, d_gate[c], g[c] * up[c] * mul_add(act, T(1) - s, s));
      d_up[c] = mul_add(keep, d_up[c], g[c] * act);
    }
  }
}

}  // namespace

void fill_pointwise() {
  EFFLLM_SET(pointwise, pointwise);
  EFFLLM_SET(pointwise_backward, pointwise_backward);
  EFFLLM_SET(multiply, multiply);
  EFFLLM_SET(scale, scale);
  EFFLLM_SET(sum, sum);
  EFFLLM_SET(add_row, add_row);
  EFFLLM_SET(column_sum, column_sum);
  EFFLLM_SET(swiglu, swiglu);
  EFFLLM_SET(swiglu_backward, swiglu_backward);
}

}  // namespace effllm::EFFLLM_ISA
