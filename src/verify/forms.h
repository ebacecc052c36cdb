// One sequence through a model in different ways: whole, in pieces, token by token. What must come out the same.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "model/language_model.h"

namespace effllm {

// What came out of one way: logits, and what mechanisms chose on the way.
struct Outcome {
  Tensor logits;  // [B, T, Q]
  // By place ("layers.1.mixer.selected"): lists [B, T, n] of whatever numbers name a choice, and by "<place>.margin"
  // how far the last chosen was from the first that was not, [B, T].
  std::map<std::string, Tensor> choices;
};

struct Way {
  std::vector<int64_t> cuts = {};  // tokens before which a new call begins
  int64_t chunk = 0;               // Pass::chunk
  Phase phase = Phase::infer;
  const Tensor* segments = nullptr;  // i64 [B, T]
  int64_t prefix = 0;                // the first tokens, which see each other; the first call has them all
  // So many tokens that the text does not have are read, and taken back, before each call, and again in it, behind its
  // own: State::rewind.
  int64_t beyond = 0;
};

// ids: i32 [B, T]. `memory`: of an encoder, where the model has one; a state is given it in its first call alone.
Outcome run(const LanguageModel& model, const Tensor& ids, const Way& way = {}, const Memory& memory = {});
// Cuts of a sequence into single tokens, or blocks of so many.
std::vector<int64_t> every_token(int64_t tokens, int64_t block = 1);
// Of a model of blocks the tokens that are `seen`, MASK among them, [B, T] as the clean ones are: in one pass over
// both, as in training, and block by block behind a state of the clean ones, as texts are written.
Outcome run_noisy(const LanguageModel& model, const Tensor& clean, const Tensor& seen);
Outcome run_noisy_by_blocks(const LanguageModel& model, const Tensor& clean, const Tensor& seen);
// Tokens [from, to) of every row.
Tensor token_range(const Tensor& x, int64_t from, int64_t to);

}  // namespace effllm
