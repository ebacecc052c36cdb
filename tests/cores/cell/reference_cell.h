// LSTM and GRU as plain loops over tokens in f64, from their equations in cell.h: what tests compare the fast forms
// with. Inputs of either float type; results are f64, and no gradients are recorded.
#pragma once
#include "cores/cell/cell.h"

namespace effllm {

LstmResult reference_lstm(const Tensor& gates, const Tensor& recurrent, const Tensor& h0, const Tensor& c0,
                          const Tensor& segments);
GruResult reference_gru(const Tensor& in, const Tensor& recurrent, const Tensor& bias, const Tensor& h0,
                        const Tensor& segments);

}  // namespace effllm
