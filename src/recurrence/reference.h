// The sequence cores as plain loops over tokens in f64, from their equations: what tests and `effllm verify` compare
// the fast forms with. Inputs as in scan.h, gla.h and short_conv.h, of either float type; results are f64, and no
// gradients are recorded.
#pragma once
#include "recurrence/gla.h"
#include "recurrence/scan.h"
#include "recurrence/short_conv.h"

namespace effllm {

ScanResult reference_scan(const Tensor& a, const Tensor& b, const Tensor& h0, const Tensor& segments);
GlaResult reference_gla(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& log_decay,
                        const Tensor& state0, const Tensor& segments, const GlaOptions& options,
                        const Tensor& log_value_decay = {});
ShortConvResult reference_short_conv(const Tensor& x, const Tensor& weight, const Tensor& history,
                                     const Tensor& segments);

}  // namespace effllm
