// What travels beside the activations, by how often it changes: a Pass is one for a run of the model, Tokens change
// where sequences are picked. A new field reaches every mixer without touching one of them.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/random.h"
#include "ops/sequences.h"

namespace effllm {

class Ledger;
class State;

enum class Phase { train, infer };
enum class Direction { causal, bidirectional };

// May look at a value, or put another of the same shape in its place. Names such as "layers.3.mixer.out".
using Taps = std::function<Tensor(std::string_view name, const Tensor& value)>;

// The same for every layer of a run of the model.
struct Pass {
  State* state = nullptr;  // null: start from nothing, forget at the end
  int64_t chunk = 0;       // how to compute, never what; 0: the core's own choice
  // Tokens that attention sees at most, the own one included, where it says that it keeps to this (LongText); the same
  // in all calls of a state. 0: no limit.
  int64_t reach = 0;
  bool recompute = false;      // the tape keeps what goes into each block alone, and backward runs it again
  Phase phase = Phase::infer;  // train: the training form where a mechanism has two
  bool leave_out = true;       // in training what dropout and its like leave out at random
  Direction direction = Direction::causal;
  // Tokens of a block: all of a block see each other, and those of the blocks before; 0: there are no blocks. They are
  // counted from the row's start, or the state's, which ends with a whole one.
  int64_t block = 0;
  bool noisy = false;  // the second half of a row's tokens are noisy copies of the first: AttentionOptions::noisy
  uint64_t seed = 0;   // of random numbers, which step and samples key too
  int64_t step = 0;
  double progress = 0;  // of the run's horizon that is done, in [0, 1)
  const Taps* taps = nullptr;
  Ledger* ledger = nullptr;  // null: nobody adds up, and auxiliary losses are left out
};

// Values of tokens, [B, T, ..], that layers leave for later ones, by name (Site::gives).
using Shelf = std::map<std::string, Tensor, std::less<>>;

// What an encoder made of a text, which every layer of the decoder may read: of sequence b the first lengths[b] rows.
struct Memory {
  Tensor rows = {};     // [B, S, D]; undefined: none is given, and a state has what is read of the one before
  Tensor lengths = {};  // i64 [B], 1 to S; undefined: all of them
  Memory pick(const Sequences& picked) const;
};

// Keys and values that one use of a mixer lends to later ones in its block (Site::borrow): of all tokens of a call, and
// of those remembered before them.
struct LentKeys {
  Tensor k = {}, v = {};  // [B, S, C]; undefined: not lent yet
  Tensor q_offset = {};   // i64 [B], index among them of the call's first token; undefined: S - T
  Tensor segments = {};   // i64 [B, T], of the call's tokens
  int64_t tokens = 0;     // T
  Tensor at = {};         // i64 [B, n], which of the call's tokens a borrower is given, ascending
  LentKeys pick(const Sequences& picked) const;
};

// Which tokens a layer is given: those of B sequences.
struct Tokens {
  // Document starts in the row up to and including each token, i64 [B, T]; 0: still the state's document. Undefined:
  // none.
  Tensor segments = {};
  Tensor positions = {};     // i64 [B, T], within the document; undefined: computed from state and segments
  Tensor prefix = {};        // i64 [B]: so many of the first tokens here see each other; undefined: none
  Tensor ids = {};           // i32 [B, T], which they are (Call::ids)
  Samples samples = {};      // that they are among all of the run
  Sequences sequences = {};  // that they are in the state; empty: all of it, in order
  double share = 1;          // of all tokens that these are, where layers leave some out
  // What earlier layers left for them, and where this one does: one for a run of the model.
  std::shared_ptr<Shelf> shelf = std::make_shared<Shelf>();
  Memory memory = {};
  std::shared_ptr<LentKeys> lent = {};  // null: nothing inside lends

  Tokens pick(const Sequences& picked) const;  // those of some of the sequences, and nothing on the shelf
};

// What a run of the model is given.
struct Context : Pass, Tokens {};

}  // namespace effllm
