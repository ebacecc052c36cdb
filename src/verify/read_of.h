// What an encoder reads of texts that are verified.
#pragma once
#include "objectives/objective.h"

namespace effllm {

// i32 [B, S]: what the objective gives the encoder of ids i32 [B, T], cut as evaluation cuts a row, with sentinels
// where it has such; of the first tokens where learned positions reach no further.
Tensor read_of(const Objective& objective, const LanguageModel& model, const Tensor& ids);

}  // namespace effllm
