// What the kernels of state space models take: selective and modal scans, skip and gate behind them. See table.h.
#pragma once
#include <cstdint>

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

// Diagonal state spaces with constant decays, of one sequence: P complex states for each of C channels,
//   h = w h + u,  y = sum_p Re(e_p h_p) + skip u.
// w, e, h: [2P, C], real parts in rows [0, P), imaginary ones behind.
template <class T>
struct ModalScan {
  View<const T> u;     // [T, C]
  View<const T> w, e;  // [2P, C]
  const T* skip;       // [C] or null
  const uint8_t* starts;
  View<const T> h0;     // [2P, C]; null: zero
  View<T> y, last;      // [T, C], [2P, C]
  View<T> checkpoints;  // [ceil(T / kSelectiveSpan) 2P, C], as for SelectiveScan
  T* scratch;           // modal_scan_scratch(P, C) elements
};
template <class T>
struct ModalScanBackward {
  View<const T> d_y, d_last;  // null: zero
  View<T> d_u, d_h0;          // null where unwanted
  bool add_u, add_h0;
  View<T> d_w, d_e;  // [2P, C], overwritten
  T* d_skip;         // [C], overwritten
};

// y = (o + d x) silu(z), d: [groups]; gradients with null data are not wanted.
template <class T>
struct GatedSkipBackward {
  View<const T> o, x, z, dy;  // [rows, groups * n]
  const T* d;
  int64_t groups;
  View<T> d_o, d_x, d_z;
  bool add_o, add_x, add_z;
  T* d_d;
  bool add_d;
};

}  // namespace effllm
