// A layer by itself, trained towards what another function gives.
#pragma once
#include "mixers/built_mixer.h"
#include "nn/ledger.h"

namespace effllm::test {

// So many steps of Adam from the mean squared error of y against `target`, with the layer's own losses and buffers;
// returns the mean squared error of evaluation.
double fit(BuiltMixer& m, const Tensor& x, const Tensor& target, int64_t steps, double lr);

}  // namespace effllm::test
