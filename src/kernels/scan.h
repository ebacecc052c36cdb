// Kernels of elementwise scans h_t = a_t h_{t-1} + b_t that compute a and b of their inputs where they are used.
#pragma once
#include "kernels/kernel.h"
#include "tensor/view.h"

namespace effllm {

// What a candidate u enters as: itself, or made positive: u + 1/2 from 0 on, sigmoid(u) below.
enum class Candidate { linear, positive };

// One sequence. The form of the scan says how many inputs there are and whether there is a row.
template <class T>
struct Scan {
  View<const T> x[3];     // [T, C] each
  const T* row;           // [C] or null
  const T* h0;            // [C], or null: the first token begins a document
  const uint8_t* starts;  // [T] non-zero where a document starts, where a = 0; or null
  Candidate candidate;    // read by forms that have one
};
template <class T>
struct ScanBackward {
  View<const T> d_h;  // null data: of h_T alone
  const T* d_last;    // [C] or null
  View<T> dx[3];      // null data where unwanted, as d_row and d_h0
  bool add[3];
  T* d_row;  // [C], the sum over this sequence's tokens
  T* d_h0;
  bool add_h0;
};

// The forms, with s the sigmoid and c the candidate of u.
// gated    (z, u): a = 1 - s(z), b = s(z) c
// ratio    (f, i, u): a = s(f) / (s(f) + s(i)), b = (1 - a) c
// floored  (f, u; row): a = row + (1 - row) s(f), b = (1 - a) silu(u)
// power    (r, i, u; row): a = exp(-8 row s(r)), b = sqrt(1 - a^2) s(i) u, and s(i) u where a document starts
// Computes h; with `backward`, of the h that a call without computed, its gradients.
template <class T>
using ScanSignature = void(const Scan<T>&, View<T> h, const ScanBackward<T>* backward);
EFFLLM_KERNEL(gated_scan, ScanSignature<T>);
EFFLLM_KERNEL(ratio_scan, ScanSignature<T>);
EFFLLM_KERNEL(floored_scan, ScanSignature<T>);
EFFLLM_KERNEL(power_scan, ScanSignature<T>);

}  // namespace effllm
