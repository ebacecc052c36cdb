// Kernels of the selective scan.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// One sequence of h[n,c] = exp(-delta_c rate[n,c]) h[n,c] + delta_c x_c b_n,  y_c = sum_n c_n h[n,c] + skip_c x_c:
// Mamba's selective scan with its N states of each of C channels. delta, rate >= 0.
inline constexpr int64_t kSelectiveSpan = 16;  // tokens between checkpoints
template <class T>
struct SelectiveScan {
  View<const T> x, delta;  // [T, C]
  View<const T> b, c;      // [T, N]
  View<const T> rate;      // [N, C]
  const T* skip;           // [C] or null
  const uint8_t* starts;
  View<const T> h0;     // [N, C]; null: zero
  View<T> y, last;      // [T, C], [N, C]
  View<T> checkpoints;  // [ceil(T / kSelectiveSpan) N, C], states before every span; backward reads them. Null: none
  T* scratch;           // selective_scan_scratch(N, C) elements
};
template <class T>
struct SelectiveScanBackward {
  View<const T> d_y, d_last;  // [T, C], [N, C]; null: zero
  View<T> d_x, d_delta;       // [T, C], null where unwanted, as d_h0 [N, C]
  View<T> d_h0;
  bool add_x, add_delta, add_h0;
  View<T> d_b, d_c, d_rate;  // [T, N] twice, [N, C]; overwritten
  T* d_skip;                 // [C], overwritten
};

EFFLLM_KERNEL(selective_scan_scratch, int64_t(int64_t states, int64_t columns));
EFFLLM_KERNEL(selective_scan, void(const SelectiveScan<T>&));
EFFLLM_KERNEL(selective_scan_backward, void(const SelectiveScan<T>&, const SelectiveScanBackward<T>&));

}  // namespace effllm
