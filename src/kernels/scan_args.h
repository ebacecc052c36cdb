// What the kernels of elementwise scans take that compute their coefficients themselves. See table.h.
#pragma once
#include <cstdint>

#include "tensor/view.h"

namespace effllm {

// What minGRU takes for a candidate: u itself, or g(u) = u + 1/2 from 0 on, sigmoid(u) below.
enum class Candidate { linear, g };

template <class T>
struct GatedScanBackward {
  View<const T> gate, candidate, h;  // [T, C]
  const T* h0;                       // [C] or null for zero
  const uint8_t* starts;
  View<const T> d_h;            // null data: of h_T alone
  const T* d_last;              // [C] or null
  View<T> d_gate, d_candidate;  // null data where unwanted, as d_h0
  T* d_h0;
  bool add_gate, add_candidate, add_h0;
};

// Scans h_t = a_t h_{t-1} + b_t whose coefficients come from the inputs x[0], x[1] (, x[2]) and a row of numbers for
// each column; `first` is what h_t is at the start of a document. s: sigmoid.
//   min_lstm  (f, i, u): a = s(f) / (s(f) + s(i)), b = (1 - a) u; min_lstm_g: minGRU's g(u) for u
//   hgrn      (f, u; row): a = row + (1 - row) s(f), b = (1 - a) silu(u)
//   rg_lru    (r, i, u; row): a = exp(-8 row s(r)), b = sqrt(1 - a^2) s(i) u, first = s(i) u
enum class ScanForm { min_lstm, min_lstm_g, hgrn, rg_lru };
constexpr int inputs_of(ScanForm f) { return f == ScanForm::hgrn ? 2 : 3; }
constexpr bool has_row(ScanForm f) { return f == ScanForm::hgrn || f == ScanForm::rg_lru; }

// One sequence. h0: [C], or null: the first token begins a document. starts: as for gated_scan.
template <class T>
struct FusedScan {
  View<const T> x[3];  // [T, C] each
  const T* row;        // [C]
  const T* h0;
  const uint8_t* starts;
};
template <class T>
struct FusedScanBackward {
  View<const T> h, d_h;  // d_h null data: of h_T alone
  const T* d_last;       // [C] or null
  View<T> dx[3];         // null data where unwanted, as d_row and d_h0
  bool add[3];
  T* d_row;  // [C], the sum over this sequence's tokens
  T* d_h0;
  bool add_h0;
};

}  // namespace effllm
