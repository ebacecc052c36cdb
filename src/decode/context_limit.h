// How much of a text a model looks at while it writes one: what training has shown it, unless said otherwise.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "model/language_model.h"

namespace effllm {

struct ContextLimit {
  int64_t tokens = 0;  // 0: all of the text
  // false: states go on, attention sees the last `tokens` (Pass::reach). true: where the state holds `tokens`, it is
  // forgotten, and the last half of them read again.
  bool anew = false;
  int64_t unread = 1;  // the last tokens of the text: nothing follows them. 0 where all tokens see each other
  int64_t again = 0;   // tokens that it starts anew from; 0: half of `tokens`
  // With an encoder, where there is a limit: so many of a text's last tokens are read at most, and so many inputs of
  // the decoder, the first of which is the last that is read, may follow.
  RowParts parts = {};

  // Whether a text of so many new tokens after such a prompt is another than without.
  bool takes_effect(int64_t prompt_tokens, int64_t new_tokens) const;
  // What an encoder reads of a text of so many tokens, and the decoder's room then, where so many are to be written.
  RowParts begun(int64_t text, int64_t new_tokens) const;
};

// trained: tokens of the sequences of training. asked: how many the user wants; 0: no limit. Without a wish there is a
// limit where the model has mechanisms that don't follow longer texts (Layer::long_text), and where learned
// positions end; a model whose tokens see each other sees so many at once, a prefix and what follows, or as
// many blocks as fit. One with an encoder reads and writes as many as in a row of training. ConfigError for a wish that
// the model can't fulfil, or that would change nothing.
ContextLimit context_limit(const LanguageModel& model, int64_t trained, std::optional<int64_t> asked = {});

// "attention sees the last 64 tokens", for a line of text.
std::string describe(const ContextLimit& limit);

}  // namespace effllm
