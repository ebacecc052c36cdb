// The selective scan as loops over tokens in f64.
#pragma once
#include "cores/scan/selective_scan.h"

namespace effllm {

// Inputs as in selective_scan.h, of either float type; the result is f64, and no gradients are recorded.
SelectiveScanResult reference_selective_scan(const SelectiveScanInputs& in);

}  // namespace effllm
