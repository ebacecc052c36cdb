// Convolution along time with kernels as long as the sequence (core K6), by Fourier transforms.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Pieces of up to this many tokens are convolved term by term, which is exact in its causality; longer ones by
// transforms, whose rounding reaches every token of the piece: some 1e-16 (f64) of the largest result.
inline constexpr int64_t kDirectConv = 64;

// y_t = sum_{s <= t} k_{t-s} u_s, each channel by its own kernel, each document of a row as a piece of its own. Two
// pieces that need transforms of one length share one, as real and imaginary part.
//   u         [B, T, C]
//   k         [T, C]
//   segments  i64 [B, T]
//   returns   [B, T, C]
Tensor fft_conv(const Tensor& u, const Tensor& k, const Tensor& segments = {});

}  // namespace effllm
