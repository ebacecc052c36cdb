// Text from a model with an encoder: what follows a prompt, or what is missing in it.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "data/tokenizer.h"
#include "decode/context_limit.h"
#include "decode/sampler.h"
#include "model/language_model.h"

namespace effllm {

// The decoder after a text that the encoder has read. A copy branches off.
class Decoding {
 public:
  // The decoder reads `first`; it has room for so many tokens, that one included.
  Decoding(const LanguageModel& model, std::span<const int32_t> read, int32_t first, int64_t room);
  void append(int32_t token);
  const Tensor& logits() const { return logits_; }  // [1, outputs()], of the next token

 private:
  void append(int32_t token, const Context& cx);
  const LanguageModel* model_;
  State state_;
  Tensor logits_;
};

// A text of which the encoder has read the last tokens that the limit lets it, and the decoder writes on: as far as
// rows of training had places for it, then it starts anew from the last tokens. A copy branches off.
class EncodedContinuation {
 public:
  EncodedContinuation(const LanguageModel& model, std::vector<int32_t> prompt, int64_t new_tokens,
                      const ContextLimit& limit);
  void append(int32_t token);
  int32_t next(const SamplerOptions& o, uint64_t sample_index, uint64_t token_index) const;

 private:
  Decoding begun(int64_t text);
  const LanguageModel* model_;
  std::vector<int32_t> tokens_;
  ContextLimit limit_;
  int64_t new_tokens_, left_ = 0;  // of the decoder's room
  Decoding decoding_;
};

// A prompt as a model reads it that fills in what is missing: a sentinel in the place of each `blank`, or one at the
// end where there is none. ConfigError for more blanks than the model has sentinels, for a prompt that is longer than
// the encoder's learned positions, and where blanks alone fill the decoder's.
struct Blanks {
  std::vector<int32_t> read;
  std::vector<std::vector<int32_t>> between;  // tokens before, between and after the blanks
};
Blanks blanks_of(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                 std::string_view blank);
// New tokens that the decoder has learned positions for, at most; without such no limit.
int64_t places_for(const LanguageModel& model, const Blanks& blanks);
// Tells the text from the first blank on, `tokens` new ones at most and what stands between, until `put` says false.
// `begun`: after the first sentinel (begin_filling).
Decoding begin_filling(const LanguageModel& model, const Blanks& blanks, int64_t tokens);
void fill_in(const LanguageModel& model, const Blanks& blanks, Decoding begun, int64_t tokens,
             const SamplerOptions& sampler, int64_t sample, const std::function<bool(std::span<const int32_t>)>& put);

}  // namespace effllm
