// Text from a model.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/tokenizer.h"
#include "decode/context_limit.h"
#include "decode/denoise.h"
#include "decode/draft.h"
#include "decode/sampler.h"
#include "model/language_model.h"

namespace effllm {

struct GenerateOptions {
  int64_t tokens = 256;                // to generate at most, per sample
  int64_t samples = 1;                 // sample i is the same text however many there are
  std::vector<std::string> stop = {};  // a text ends before the first of these that it would contain
  SamplerOptions sampler = {};
  ContextLimit context = {};
  DenoiseOptions denoise = {};  // of a model that predicts tokens which noise hides; no other takes any
  std::string blank = "___";    // stands in a prompt where a model fills in what is missing
  DraftOptions draft = {};      // of a model that continues from left to right
};

// A new piece of the text of sample `sample`: never a part of a stop string, nor of a UTF-8 sequence that the next
// token may complete. The pieces of a sample joined are its text; the first is empty, so that each sample is announced.
using OnText = std::function<void(int64_t sample, std::string_view piece)>;

// What a prompt begins with: its tokens, or one newline for an empty one (token 0 where the vocabulary has none).
std::vector<int32_t> prompt_tokens(const Tokenizer& tokenizer, std::string_view prompt);

// Continues `prompt` `samples` times, one after the other; returns the new texts without the prompt. Where tokens see
// each other, they are chosen as denoise() says, and an empty prompt has no tokens. Else the prompt is read once, then
// the state of each sample advances by single steps. Where a limit of the context says `anew`, and where learned
// positions end, it starts anew from the last half, and of a longer prompt the last tokens are read. ConfigError for
// options out of range or a tokenizer of another vocabulary, DataError for a prompt with symbols that the tokenizer
// lacks, NumericalError for logits that are not numbers. A model with an encoder reads the prompt with that. One that
// fills in what is missing does so where `blank` stands, or at the end: a text is then what follows the first blank,
// and no more is new than the decoder has learned positions for. With a draft texts have the same distribution, in
// fewer calls of the model (decode/speculate.h); `counts`, where it is not null, is added what became of drafted
// tokens.
std::vector<std::string> generate(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                                  const GenerateOptions& options, const OnText& on_text = {},
                                  DraftCounts* counts = nullptr);

// Tokens that the model reads of a prompt.
int64_t prompt_length(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                      std::string_view blank);
// "the decoder has learned positions for 30 new tokens", where a model that fills in is asked for more; else "".
std::string short_of_places(const LanguageModel& model, const Tokenizer& tokenizer, std::string_view prompt,
                            const GenerateOptions& options);
// What of a prompt stands before the new text: all of it, or what is before the first blank.
std::string_view before_text(const LanguageModel& model, std::string_view prompt, std::string_view blank);

// Text on its way out: holds back what may still become a stop string or a whole UTF-8 sequence.
class TextStream {
 public:
  explicit TextStream(std::vector<std::string> stop) : stop_(std::move(stop)) {}  // none of them empty
  // Takes in the bytes of tokens; returns what is safe to show. After a stop string nothing more comes.
  std::string push(std::string_view bytes);
  bool stopped() const { return stopped_; }
  std::string finish();  // the rest, which nothing will complete any more

 private:
  size_t safe_length() const;
  std::vector<std::string> stop_;
  std::string held_;
  bool stopped_ = false;
};

}  // namespace effllm
