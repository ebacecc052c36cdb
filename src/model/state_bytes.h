// What a sequence remembers, in bytes, and how much of it is rows of tokens.
#pragma once
#include "nn/state.h"

namespace effllm {

struct StateBytes {
  int64_t all = 0;
  int64_t rows = 0;  // of tokens: keys, values and their like, of all tokens or of a window
};

// As declared: of one sequence after so many tokens, with an encoder's memory of so many, without counts.
StateBytes state_bytes(const Site& site, int64_t tokens, DType t, int64_t memory = 0);
// As it is: what the tensors of a state of one sequence hold after so many tokens, for which it has room.
StateBytes state_bytes(const State& state, int64_t tokens);

}  // namespace effllm
