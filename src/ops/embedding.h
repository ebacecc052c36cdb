// Rows of a table chosen by ids.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// ids: i32 [B, T], table: [Q, D] -> [B, T, D]. Ids from Q on take the rows of `more`, [E, D]; undefined: there are
// none. An id outside both is a DataError.
Tensor embedding(const Tensor& ids, const Tensor& table, const Tensor& more = {});

}  // namespace effllm
