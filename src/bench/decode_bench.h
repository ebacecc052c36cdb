// The speed of decoding one sequence after so many tokens, and what the model remembers of them.
#pragma once
#include "bench/timing.h"
#include "model/language_model.h"
#include "model/state_bytes.h"

namespace effllm {

// A sequence that goes on from the same place again and again.
class DecodeBench {
 public:
  // Reads `depth` tokens, and has room for `tokens` more. ConfigError for a model that does not write one token after
  // the other, or has learned positions for fewer.
  DecodeBench(const LanguageModel& model, int64_t depth, int64_t tokens);
  // Goes back to the place after `depth` tokens, and decodes one: what the place itself still needs has been copied.
  void start();
  // Decodes the next token: the logits of the one after it, [1, Q], of which none is drawn.
  Tensor step();
  // After `depth` tokens, counted from the state that is there.
  StateBytes state() const { return state_bytes(place_, depth_); }

 private:
  Tensor next();  // of a text that begins with 0, where 3 t + 7 modulo the vocabulary follows t
  const LanguageModel& model_;
  int64_t depth_, token_ = 0, at_depth_ = 0;  // what comes next, and what came first after the depth
  State place_, state_;
};

struct DecodeTimings {
  Quantiles seconds;  // of a token, over the repetitions
  StateBytes state;
};
// `tokens` tokens in a row, `repetitions` times.
DecodeTimings time_decoding(const LanguageModel& model, int64_t depth, int64_t tokens, int64_t repetitions);

}  // namespace effllm
