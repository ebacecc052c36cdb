// Kernels of Fourier transforms and of long convolutions.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Fourier transforms of `lanes` columns side by side, of length n, a power of two: a spectrum is n pairs of vectors
// [n][re, im][lanes], in an order of its own. turns: [n][2], e^(-2 pi i k / n). Signals have <= n rows, <= lanes
// columns, zeros behind; a null imaginary part is zero.
EFFLLM_KERNEL(lanes, int64_t());
EFFLLM_KERNEL(to_spectrum, void(View<const T> re, View<const T> im, int64_t n, const T* turns, T* x));
EFFLLM_KERNEL(from_spectrum, void(T* x, int64_t n, const T* turns, View<T> re, View<T> im, bool add));  // x is spent
// x = x * k, or x * conj(k);  sum (+)= conj(a) b
EFFLLM_KERNEL(multiply_spectra, void(T* x, const T* k, bool conjugate, int64_t n));
EFFLLM_KERNEL(correlate_spectra, void(const T* a, const T* b, T* sum, bool add, int64_t n));
// y_t = sum_{s<=t} k_{t-s} u_s term by term, for few tokens; then the gradients: d_u (+)=, d_k +=.
EFFLLM_KERNEL(direct_conv, void(View<const T> u, View<const T> k, View<T> y));
EFFLLM_KERNEL(direct_conv_backward,
              void(View<const T> u, View<const T> k, View<const T> d_y, View<T> d_u, bool add_u, View<T> d_k));

}  // namespace effllm
