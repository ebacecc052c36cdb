// Which tokens of a text are scored, and from what context.
#pragma once
#include <cstdint>
#include <vector>

#include "eval/protocol.h"

namespace effllm {

struct EvalOptions {
  Choice<ProtocolInfo> protocol{all_protocols, "windows"};
  int64_t tokens = 256;    // T, of a window or chunk
  int64_t batch = 8;       // windows that go through the model at once
  int64_t max_tokens = 0;  // score the first so many targets; 0: the whole split
  // Draws for each window, where the objective's score is a bound that they estimate; 0: it is none.
  int64_t bound_samples = 0;
  uint64_t seed = 1;                        // of those draws
  bool left_to_right = false;               // in place of the bound the likelihood of one order of tokens
  bool each_alone = false;                  // in its place -log p of each token, given all others that it may see
  bool training_choice = false;             // Scoring::training_choice, and what layers measure
  bool by_exit = false;                     // the model that ends after each of its layers too
  int64_t exit_layer = 0;                   // after which the model was told to end; 0: its last
  std::vector<int64_t> context_bands = {};  // EvalResult::by_context with these ends (context_bands); none: without
  bool reset_documents = false;             // context ends at a document's start, and its first token is not scored
};

}  // namespace effllm
