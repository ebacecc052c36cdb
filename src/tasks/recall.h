// Pairs of a key and its value in a row, drawn with replacement: where a key has come before, its value is to be told.
#pragma once
#include "tasks/task.h"

namespace effllm::tasks {

struct Recall {
  int64_t pairs;         // of two tokens each, noise among them
  int64_t keys, values;  // how many there are: ids from 0 on, then from `keys` on
  int64_t noise = 0;     // ids behind those
  double noise_share = 0;
  // The last pair's key has come before, and its value, which nothing follows, is no token of the sample.
  Sample sample(Draws& draws) const;
  std::string symbol(int32_t id) const;
};

}  // namespace effllm::tasks
