// Speculative decoding: a draft proposes tokens one by one, the target reads all of them in one call, and those that
// stay are as if it had drawn them itself (decode/accept.h).
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "decode/draft.h"
#include "decode/reading.h"

namespace effllm {

// A text that goes on after a prompt, read by the target and its draft. A copy branches off.
class Speculation {
 public:
  Speculation(const LanguageModel& target, std::vector<int32_t> prompt, int64_t new_tokens, const ContextLimit& limit,
              const DraftOptions& draft, const SamplerOptions& sampler);
  Speculation(const Speculation& o);
  Speculation& operator=(const Speculation&) = delete;
  // Tells the new tokens of a sample, one after the other, until `put` says false; adds to the counts.
  void write(int64_t sample, const std::function<bool(int32_t token)>& put, DraftCounts& counts);

 private:
  std::vector<int32_t> text_;
  int64_t new_tokens_, most_;
  SamplerOptions sampler_;
  Reading target_;
  std::unique_ptr<Draft> draft_;
};

}  // namespace effllm
