// A layer on some sequences of a batch: the others are left out, and what they remember stays as it was.
#pragma once
#include <functional>

#include "nn/call.h"

namespace effllm {

using Run = std::function<Tensor(const Tensor& x, const Call& call)>;

// x with f(x[picked]) in the place of x[picked]; f gets a call with the state, documents, positions, ids, samples and
// shared values of those. Where a document begins in a sequence that is left out, its state is that of nothing seen.
Tensor run_picked(const Tensor& x, const Call& call, const Sequences& picked, const Run& f);

}  // namespace effllm
