// Speculative decoding beside plain decoding, and beside what the cost of calls and the acceptance foretell.
#pragma once
#include <string_view>

#include "bench/timing.h"
#include "decode/generator.h"

namespace effllm {

// Seconds of a call over `tokens` tokens after `depth` others, over the repetitions. ConfigError where learned
// positions end before.
Quantiles time_call(const LanguageModel& model, int64_t depth, int64_t tokens, int64_t repetitions);

struct SpeculateTimings {
  Quantiles plain, drafted;  // seconds of a text
  DraftCounts counts;        // of all drafted texts
  double call_cost = 0;      // of a call of the target over draft tokens + 1, in calls over one
  double draft_cost = 0;     // of a token of the draft, in the same
  double acceptance = 0;     // of checked tokens; NaN: none was checked
  double measured = 0;       // speed-up
  // (1 - a^(d + 1)) / (1 - a) tokens of a round at acceptance a (Leviathan et al. 2023), over its cost: of a call over
  // as many tokens as calls have read on average, and d tokens of the draft.
  double predicted = 0;
};

// `o.tokens` after a prompt, with o.draft and without, by turns; repetition i with the seed o.sampler.seed + i. Calls
// are measured after half as many tokens.
SpeculateTimings time_speculation(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                                  const GenerateOptions& o, int64_t repetitions);

}  // namespace effllm
