// What travels beside the activations, one for a run of the model. A new field reaches every mixer without touching one
// of them.
#pragma once
#include <functional>
#include <string_view>

#include "base/random.h"
#include "tensor/tensor.h"

namespace effllm {

class Ledger;
class State;

enum class Phase { train, infer };
enum class Direction { causal, bidirectional };

// Keys of the random numbers: which step of which run, and which samples of it are at hand.
struct StepInfo {
  uint64_t seed = 0;
  int64_t step = 0;
  Samples samples = {};
};

// May look at a value, or put another of the same shape in its place. Names such as "layers.3.mixer.out".
using Taps = std::function<Tensor(std::string_view name, const Tensor& value)>;

struct Context {
  State* state = nullptr;  // null: start from nothing, forget at the end
  int64_t chunk = 0;       // how to compute, never what; 0: the core's own choice
  // Tokens that attention sees at most, the own one included, where it says that it keeps to this (LongText); the same
  // in all calls of a state. 0: no limit.
  int64_t reach = 0;
  bool recompute = false;      // the tape keeps of each block its input alone, and backward runs the block again
  Phase phase = Phase::infer;  // train: the training form where a mechanism has two
  bool leave_out = true;       // in training what dropout and its like leave out at random
  Direction direction = Direction::causal;
  StepInfo when;
  // Document starts in the row up to and including each token, i64 [B, T]; 0: still the state's document. Null: none.
  const Tensor* segments = nullptr;
  const Tensor* positions = nullptr;  // i64 [B, T], within the document; null: computed from state and segments
  const Taps* taps = nullptr;
  Ledger* ledger = nullptr;  // null: nobody adds up, and auxiliary losses are left out
};

}  // namespace effllm
