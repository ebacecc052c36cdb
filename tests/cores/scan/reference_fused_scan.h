// The plain loop that the fused scans stand for, in f64.
#pragma once
#include "cores/scan/fused_scan.h"

namespace effllm {

// Inputs and results as in fused_scan; the inputs are f64.
ScanResult reference_fused_scan(ScanForm form, const Tensor& x0, const Tensor& x1, const Tensor& x2, const Tensor& row,
                                const Tensor& h0, const Tensor& segments);

}  // namespace effllm
