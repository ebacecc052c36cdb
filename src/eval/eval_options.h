// Which tokens of a text are scored, and from what context: evaluator.h says what each protocol does.
#pragma once
#include <cstdint>
#include <string>

namespace effllm {

struct EvalOptions {
  std::string protocol = "windows";
  int64_t tokens = 256;          // T, of a window or chunk
  int64_t stride = 0;            // s, of `sliding`: 1 to T; 0: half of T
  int64_t batch = 8;             // windows that go through the model at once
  int64_t max_tokens = 0;        // score the first so many targets; 0: the whole split
  bool reset_documents = false;  // context ends at a document's start, and its first token is not scored
};

}  // namespace effllm
