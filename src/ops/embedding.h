// Rows of a table chosen by ids.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// ids: i32 [B, T], table: [Q, D] -> [B, T, D]. An id outside the table is a DataError.
Tensor embedding(const Tensor& ids, const Tensor& table);

}  // namespace effllm
