// Kernels of sequential cells.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// One step of one sequence of width W. Gates stand one after another in [4W] and [3W]. `recurrent`: R h_{t-1}; null, as
// is c_before or h_before then: a state of zeros. The new state may overwrite the one before.
template <class T>
struct LstmStep {
  int64_t width;
  const T *in, *recurrent;  // [4W] i, f, g, o, before their functions
  const T* c_before;
  T *h, *c;
  T* gates;  // [4W] i, f, g, o after their functions, kept for backward; or null
};
template <class T>
struct LstmStepBackward {
  int64_t width;
  const T *gates, *c, *c_before;
  const T* d_h;
  T* d_c;      // of c_t beside that through h_t; on return of c_{t-1}
  T* d_gates;  // [4W] of the sums in + recurrent
};
template <class T>
struct GruStep {
  int64_t width;
  const T *in, *recurrent, *bias;  // [3W] r, z, n and [3W], the bias [W] of n's recurrent part
  const T* h_before;
  T* h;
  T* gates;  // [4W] r, z, n and R_n h + bias, kept for backward; or null
};
template <class T>
struct GruStepBackward {
  int64_t width;
  const T *gates, *h_before;
  T* d_h;          // of h_t; on return what reaches h_{t-1} past the product
  T* d_in;         // [3W]; its first 2W are those of the recurrent sums too
  T* d_recurrent;  // [W] of R_n h + bias
};

EFFLLM_KERNEL(lstm_cell, void(const LstmStep<T>&));
EFFLLM_KERNEL(lstm_cell_backward, void(const LstmStepBackward<T>&));
EFFLLM_KERNEL(gru_cell, void(const GruStep<T>&));
EFFLLM_KERNEL(gru_cell_backward, void(const GruStepBackward<T>&));

}  // namespace effllm
