// No memory in the middle of something: what the program was doing, and what would make it need less.
#pragma once
#include "base/error.h"

namespace effllm {

// Thrown where the system gives none; what was foreseen to be too much is a plain MemoryError and says more.
class OutOfMemory : public MemoryError {
 public:
  using MemoryError::MemoryError;
};

// What the thread of main() is doing while this lives. Only the texts' addresses are kept: they are literals.
class Activity {
 public:
  Activity(const char* what, const char* remedy);  // "training", "lower train.context"
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;

  // The innermost that the exception which is being handled has left; null where it left none.
  struct Text {
    const char *what, *remedy;
  };
  static const Text* failed() { return failed_.what ? &failed_ : nullptr; }

 private:
  Text text_;
  int exceptions_;  // under way when it began
  static Text failed_;
};

}  // namespace effllm
