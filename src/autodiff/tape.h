// The tape remembers ops as they run and walks them backwards. Eager: an op has computed when run() returns.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "autodiff/op.h"
#include "base/held.h"

namespace effllm {

class NanWatch;

// The gradients of parameters, in their order in the store: views of a slab. `written` tells a first gradient, which
// overwrites, from a later one, which adds.
struct ParamGrads {
  std::vector<Tensor> views;
  std::vector<char> written;
  void reset() { written.assign(views.size(), 0); }
  void zero_unwritten();  // after the last backward: parameters that nothing reached
  static thread_local ParamGrads* current;
};

// A parameter's slot is negative and outlives tapes: kUntracked - 1 - index.
constexpr int parameter_slot(int index) { return kUntracked - 1 - index; }

struct Record {
  struct In {
    int slot;
    TensorSpec spec;
    Tensor kept;
  };
  struct Out {
    int slot;
    Shape shape;
    Tensor kept;
  };
  std::unique_ptr<Op> op;
  std::vector<In> in;
  std::vector<Out> out;
  std::string_view layer;
  Cost cost;  // counted where a profile is on
};

class Tape {
 public:
  // Records everything run on this thread while alive.
  struct Recording : Held<Tape*> {
    explicit Recording(Tape& t) : Held(current, &t) {}
  };
  // Suspends recording while alive.
  struct Paused : Held<Tape*> {
    Paused() : Held(current, nullptr) {}
  };
  static Tape* recording() { return current; }

  Tensor leaf(Tensor t);                  // a tracked handle of an input
  Tensor grad(const Tensor& leaf) const;  // after backward; undefined where nothing reached it
  // Seeds several outputs with their gradients, then runs all records backwards and drops each when it has run. In meta
  // mode gradients have shapes alone and no op runs.
  struct Seed {
    Tensor of, gradient;
  };
  void backward(std::span<const Seed> seeds);
  // One more, [1], that the next backward starts from whatever it is called with: an auxiliary loss.
  void seed(const Tensor& of, Tensor gradient) { seeds_.push_back({of, std::move(gradient)}); }
  void backward(const Tensor& of, Tensor gradient);
  // Bytes kept for backward: each buffer once, parameters never.
  size_t kept_bytes() const;
  size_t size() const { return records_.size(); }

 private:
  friend class Backward;
  friend std::vector<Tensor> run_many(std::unique_ptr<Op>, std::span<const Tensor>);

  // Gradients of a column split share one buffer, laid out like the tensor that was split.
  struct Group {
    Tensor buffer;
    TensorSpec spec;
  };
  struct Slot {
    Tensor grad;
    int group = -1;
    int64_t column = 0;
  };
  int new_slot();
  Sink sink(int slot, const TensorSpec& spec);
  void give(int slot, const TensorSpec& spec, Tensor g);
  void finish_split(Record& r);
  void run_backward(Record& r, std::span<const Tensor> grads);
  void watch_gradients(const NanWatch& watch, const Record& r) const;

  std::vector<Record> records_;
  std::vector<Seed> seeds_;
  std::vector<Slot> slots_;
  std::vector<Group> groups_;
  static thread_local Tape* current;
};

}  // namespace effllm
