// A number for every group of columns: gates and step sizes of heads.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Each group of n columns of x [.., G*n] times its factor in g [.., G].
Tensor multiply_groups(const Tensor& x, const Tensor& g);

}  // namespace effllm
