// Arms of one size: a key of each is solved for on shapes alone, before anything runs.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "train/run_config.h"

namespace effllm {

// What a model is and costs, on shapes alone.
struct ModelSize {
  int64_t parameters = 0;
  double flops_per_token = 0;              // of training
  int64_t state_bytes = 0;                 // of one sequence after train.context tokens
  double decode_flops = 0;                 // of one token after these
  double of(std::string_view what) const;  // params, flops, state
};
ModelSize size_of(const RunConfig& config, int64_t vocab);

// f(n) of the multiples n of `step` up to `most`, where it is not unset (a width that heads don't divide): the one
// nearest to `target`, judged by the ratio. f must not fall where n grows. Unset where f is nowhere.
std::optional<int64_t> nearest(const std::function<std::optional<double>(int64_t)>& f, double target, int64_t step,
                               int64_t most);

}  // namespace effllm
