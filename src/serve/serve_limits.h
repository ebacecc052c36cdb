// How much may be asked of a server.
#pragma once
#include <cstdint>

namespace effllm {

struct ServeLimits {
  int64_t waiting = 16;          // requests that wait while one is answered
  int64_t body_bytes = 1 << 20;  // of a request
  int64_t prompt_tokens = 4096;  // of each prompt
  int64_t new_tokens = 4096;     // of each text
  int64_t texts = 64;            // of a request: prompts times `n`
  double seconds = 300;          // from a request's arrival to its end
};

}  // namespace effllm
