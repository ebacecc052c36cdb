// What threads and libraries allocate or load when they are first used.
#pragma once

namespace effllm {

// Starts all threads() and lets each of them use the libraries of dense products once, so that a lack of memory is an
// error at the start (MemoryError) and no crash in the middle: OpenMP, the unwinder and just-in-time compilers end the
// process where they get none.
void prepare_threads();

}  // namespace effllm
