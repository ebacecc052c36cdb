// What a training step sees of a task: a sample a row.
#pragma once
#include "data/batches.h"
#include "data/task_data.h"

namespace effllm {

// Sample g of a run is number g of the split train. Where that has N samples, it is number P_e(g mod N) of epoch
// e = g / N, P_e a permutation; epochs() then counts, and is 0 otherwise. Rows have `shape.tokens` tokens, at least
// those of the longest sample. `data` and `objective` must outlive it.
std::unique_ptr<BatchOrder> task_order(const TaskData& data, const Objective& objective, BatchShape shape,
                                       uint64_t seed);

}  // namespace effllm
