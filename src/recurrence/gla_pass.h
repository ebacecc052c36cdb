// Passes of the kernel of gated linear attention over some tokens, in time or against it.
#pragma once
#include "kernels/table.h"

namespace effllm {

// Tokens [from, to) of a pass, in time or against it. `other`: decays of the side that pass.a does not decay, or null
// data; with both the recurrence runs token by token.
template <class T>
void run_tokens(GlaPass<T> pass, View<const T> other, int64_t from, int64_t to, bool reverse);

}  // namespace effllm
