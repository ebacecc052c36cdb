// Kernels of diagonal state spaces with constant decays.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// Diagonal state spaces with constant decays, of one sequence: P complex states for each of C channels,
//   h = w h + u,  y = sum_p Re(e_p h_p) + skip u.
// w, e, h: [2P, C], real parts in rows [0, P), imaginary ones behind.
inline constexpr int64_t kModalSpan = 16;  // tokens between checkpoints
template <class T>
struct ModalScan {
  View<const T> u;     // [T, C]
  View<const T> w, e;  // [2P, C]
  const T* skip;       // [C] or null
  const uint8_t* starts;
  View<const T> h0;     // [2P, C]; null: zero
  View<T> y, last;      // [T, C], [2P, C]
  View<T> checkpoints;  // [ceil(T / kModalSpan) 2P, C], states before every span; backward reads them
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

EFFLLM_KERNEL(modal_scan_scratch, int64_t(int64_t pairs, int64_t columns));
EFFLLM_KERNEL(modal_scan, void(const ModalScan<T>&));
EFFLLM_KERNEL(modal_scan_backward, void(const ModalScan<T>&, const ModalScanBackward<T>&));
// The impulse response of the same: k[l] = sum_p Re(e_p w_p^l) [T, C]. d_w, d_e: [2P, C], overwritten.
EFFLLM_KERNEL(modal_kernel_scratch, int64_t(int64_t pairs, int64_t tokens));
EFFLLM_KERNEL(modal_kernel, void(View<const T> w, View<const T> e, View<T> k, T* scratch));
EFFLLM_KERNEL(modal_kernel_backward,
              void(View<const T> w, View<const T> e, View<const T> d_k, View<T> d_w, View<T> d_e, T* scratch));

}  // namespace effllm
