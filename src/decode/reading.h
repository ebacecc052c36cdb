// A model's reading of a text that grows at its end, and of which the end may be taken back.
#pragma once
#include <span>
#include <vector>

#include "decode/context_limit.h"
#include "decode/sampler.h"
#include "model/language_model.h"

namespace effllm {

constexpr int64_t kPrefillPiece = 256;  // tokens of a prompt at a time, so that their logits need little memory

// A copy branches off. Where a limit of the context says `anew`, and where learned positions end, the model begins anew
// from the last half; of a longer text than that at first it reads the last tokens.
class Reading {
 public:
  // `text`: tokens that there will be at most.
  Reading(const LanguageModel& model, const ContextLimit& limit, int64_t text);
  // Reads what it has not read of a text that begins as what it has. It then has the logits of what follows each of the
  // last `places` tokens, of which all but one at most are new to it.
  void read(std::span<const int32_t> text, int64_t places = 1);
  // [1, Q], of what follows one of them, numbered from 0.
  const Tensor& logits(int64_t place) const { return logits_[static_cast<size_t>(place)]; }
  std::vector<double> probabilities(int64_t place, const SamplerOptions& o) const;
  // Tokens that it can read after a text of so many before it begins anew; below 0: it begins anew for that text.
  int64_t room(int64_t text) const { return longest_ - (text - begin_); }
  int64_t unread(int64_t text) const { return text - read_; }
  // Runs of the model so far, and the tokens that they were given.
  int64_t calls() const { return calls_; }
  int64_t given() const { return given_; }

  // Here the reading may be gone back to, or to anywhere after it; forgets earlier marks, or adds one.
  void mark_alone();
  void mark();
  // As after the first `text` tokens. Where more has come since the last mark before that than rows of tokens, what is
  // between the two is read again with what follows.
  void rewind(int64_t text);

 private:
  void begin(std::span<const int32_t> text, int64_t length);
  void call(std::span<const int32_t> piece, int64_t places);
  void count(int64_t tokens);

  const LanguageModel* model_;
  int64_t longest_;               // tokens after which it begins anew
  Context reach_;                 // what attention sees
  int64_t capacity_ = 0;          // tokens that a state has room for
  int64_t begin_ = 0, read_ = 0;  // the state has tokens [begin_, read_) of the text
  int64_t calls_ = 0, given_ = 0;
  bool begun_ = false;
  State state_;
  std::vector<int64_t> marks_;  // tokens of the text at each of the state's
  std::vector<Tensor> logits_;
};

}  // namespace effllm
