// What travels beside the activations. A new field reaches every mixer without touching one of them.
#pragma once
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "tensor/tensor.h"

namespace effllm {

enum class Growth { fixed, ring, per_token };

// One named tensor of what a part remembers, per sequence (no batch dimension).
struct StateField {
  std::string name;
  Shape shape;
  Growth growth = Growth::fixed;
};
struct StateSpec {
  std::vector<StateField> fields;
  int64_t bytes(DType t) const;  // of one sequence
};

// What a mixer or channel mixer remembers between calls: the only place it can, since its methods are const. Plain
// data: clone it to branch, write it to resume, count it to compare.
struct MixerState {
  std::vector<Tensor> fields;                                  // [B, ...shape], in the order of the spec
  std::shared_ptr<const std::vector<std::string>> names = {};  // of the fields
  Tensor seen = {};                                            // i64 [B]: tokens of the running document taken in
  // The field "<prefix><name>"; an Error that lists the names where the spec has none of this name.
  Tensor& field(std::string_view name, std::string_view prefix = {});
  MixerState clone() const;
  int64_t batch() const { return seen.numel(); }
};
std::shared_ptr<const std::vector<std::string>> names_of(const StateSpec& spec);
MixerState make_state(const StateSpec& spec, int64_t batch, DType t);  // zeros

enum class Phase { train, infer };
enum class Direction { causal, bidirectional };

// Keys of the random numbers: which step of which run, and the global index of the first sample of this call.
struct StepInfo {
  uint64_t seed = 0;
  int64_t step = 0, first_sample = 0;
};

// May look at a value, or put another of the same shape in its place. Names such as "layers.3.mixer.out".
using Taps = std::function<Tensor(std::string_view name, const Tensor& value)>;

struct Context {
  MixerState* state = nullptr;  // null: start from nothing, forget at the end
  int64_t chunk = 0;            // how to compute, never what; 0: the core's own choice
  // Tokens that attention sees at most, the own one included, where it says that it keeps to this (LongText); the same
  // in all calls of a state. 0: no limit.
  int64_t reach = 0;
  bool recompute = false;      // the tape keeps of each block its input alone, and backward runs the block again
  Phase phase = Phase::infer;  // train: dropout, and the training form where a mechanism has two
  Direction direction = Direction::causal;
  StepInfo when;
  // Document starts in the row up to and including each token, i64 [B, T]; 0: still the state's document. Null: none.
  const Tensor* segments = nullptr;
  const Tensor* positions = nullptr;  // i64 [B, T], within the document; null: computed from state and segments
  const Taps* taps = nullptr;
  std::string_view site;  // where in the model: "layers.3.mixer"
};

// Positions within the document: after the tokens that the state has seen, from 0 at each document start. i64 [B, T].
Tensor token_positions(const Context& cx, int64_t batch, int64_t tokens);
// Counts `tokens` more tokens in `seen`, i64 [B]; a document start begins at 0 again.
void advance(const Tensor& seen, int64_t tokens, const Tensor* segments);
// Offers a value to the tap under "<site>.<name>"; free where nothing taps.
Tensor tap(const Context& cx, std::string_view name, const Tensor& value);
// Shows the tap what was chosen, lists of numbers [B, T, n] under "<site>.selected", and how far the last that was
// chosen was from the first that was not, [B, T, n'] under "<site>.margin". A choice can't be replaced.
void tap_choice(const Context& cx, const Tensor& selected, const Tensor& margin);
// The numbers of one site at this step, for dropout.
RandomStream random_at(const Context& cx, std::string_view purpose);

}  // namespace effllm
