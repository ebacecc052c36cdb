// Overlapping runs of tokens as rows: what a compression of keys and values reads (Yuan et al. 2025, NSA,
// arXiv:2502.11089).
#pragma once
#include "autodiff/op.h"

namespace effllm {

struct TokenWindowsOptions {
  int64_t length = 1, stride = 1, groups = 1;
  int64_t rows = 1;  // windows to make room for
};

// Windows of a document of n tokens.
inline int64_t windows_of(int64_t n, const TokenWindowsOptions& o) {
  return n < o.length ? 0 : (n - o.length) / o.stride + 1;
}

// Tokens before the call that windows to come still need: the running document's from the start of its next window on.
struct WindowCache {
  Tensor tokens;  // [B, R, G*n], R < length
  Tensor before;  // i64 [B] how many rows are in use
};

// The windows that become complete: x[s + j] + position[j], j < length, one after another, for each group of columns.
// Window i is the one that starts at token s of the cache and x put together with floor(s / stride) = i: those of a
// document follow each other. Rows of no window are zero. ShapeError where `rows` are too few.
//   x         [B, T, G*n]
//   position  [length, n]
//   segments  i64 [B, T]
//   returns   [B, rows*G, length*n]  row i*G + g: window i of group g
Tensor token_windows(const Tensor& x, const Tensor& position, const TokenWindowsOptions& options,
                     const WindowCache& cache = {}, const Tensor& segments = {});

}  // namespace effllm
