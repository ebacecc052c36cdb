// One differentiable operation: its shape rule, its cost, what it keeps, its forward and its backward, in one place.
#pragma once
#include <initializer_list>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tensor/tensor.h"

namespace effllm {

// What an operation costs, counted from shapes. Bytes are the compulsory traffic of a cold run.
struct Cost {
  double forward_flops = 0, backward_flops = 0;
  double forward_bytes = 0, backward_bytes = 0;
  double dense_flops = 0;  // of forward_flops: products with weights, scores and what they weigh
  Cost& operator+=(const Cost& o) {
    forward_flops += o.forward_flops;
    backward_flops += o.backward_flops;
    forward_bytes += o.forward_bytes;
    backward_bytes += o.backward_bytes;
    dense_flops += o.dense_flops;
    return *this;
  }
};

struct TensorSpec {
  Shape shape;
  DType dtype;
  bool dense = false;  // an output whose rows follow each other without padding
};

// What infer() returns: the outputs; the last `hidden` of them exist for backward only and are not handed out.
struct Outputs {
  std::vector<TensorSpec> specs;
  int hidden = 0;
  Outputs(std::initializer_list<TensorSpec> s, int h = 0) : specs(s), hidden(h) {}
  explicit Outputs(std::vector<TensorSpec> s) : specs(std::move(s)) {}
};

inline constexpr size_t kMostInputs = 31;

// Which inputs and outputs backward reads, one bit each.
struct Keeps {
  uint32_t inputs = 0, outputs = 0;
};

// Bytes that an op takes from the pool while it runs, beside its outputs and the gradients of its inputs.
struct Scratch {
  size_t forward = 0, backward = 0;
};
// The same in numbers of a type.
constexpr Scratch scratch_of(int64_t forward, int64_t backward, DType t) {
  return {static_cast<size_t>(forward) * size_of(t), static_cast<size_t>(backward) * size_of(t)};
}

// ShapeError unless all that are defined are floats of the first one's type.
void require_one_type(std::string_view op, std::span<const Tensor> in);

class Tape;
struct Record;

class Forward {
 public:
  Forward(std::span<const Tensor> in, std::span<Tensor> out, bool recording)
      : in_(in), out_(out), recording_(recording) {}
  const Tensor& in(int i) const { return in_[static_cast<size_t>(i)]; }  // undefined where an optional input is absent
  int inputs() const { return static_cast<int>(in_.size()); }
  Tensor& out(int i) const { return out_[static_cast<size_t>(i)]; }  // fresh memory; an op may put a view in its place
  bool recording() const { return recording_; }                      // hidden outputs are needed only then

 private:
  std::span<const Tensor> in_;
  std::span<Tensor> out_;
  bool recording_;
};

// Where a gradient goes: add to what is there, or overwrite memory that was never written.
struct Sink {
  Tensor into;  // undefined: nobody wants it
  bool accumulate;
  explicit operator bool() const { return into.defined(); }
  template <class T>
  View<T> view() const {
    return view_or_null<T>(into);
  }
};

class Backward {
 public:
  Backward(Tape& tape, Record& record, std::span<const Tensor> grads) : tape_(tape), record_(record), grads_(grads) {}
  const Tensor& in(int i) const;                                              // kept inputs
  const Tensor& out(int i) const;                                             // kept outputs
  const Tensor& grad(int i) const { return grads_[static_cast<size_t>(i)]; }  // undefined: that output had no use
  Tensor whole_grad(int i) const;                                             // zeros where it had none
  bool wants(int i) const;
  // The memory of input i's gradient, undefined where nobody wants it; all of it must be written, in any order. Where
  // another input is the same tensor, the second sink is memory of its own, added when the op is done.
  Sink sink(int i);
  // The same to add to: zeros where nothing has been added yet.
  Tensor sum(int i);
  void give(int i, Tensor g);  // hands over a whole gradient; it may be shared with others
  const Shape& in_shape(int i) const;
  const Shape& out_shape(int i) const;
  DType dtype() const;  // of the first input

 private:
  friend class Tape;
  bool lent(int slot) const;
  void finish();

  Tape& tape_;
  Record& record_;
  std::span<const Tensor> grads_;
  uint32_t lent_ = 0;  // inputs whose sinks the op may still be writing, one bit each
  std::vector<std::pair<int, Tensor>> late_;
};

class Op {
 public:
  virtual ~Op() = default;
  virtual std::string_view name() const = 0;
  virtual Outputs infer(std::span<const Tensor> in) const = 0;  // ShapeError where inputs don't fit
  virtual Cost cost(std::span<const Tensor> in) const = 0;
  virtual Keeps keeps() const { return {}; }
  // Told of shapes alone, so that the peak of a model can be known before it runs. Inputs that are absent have no dims.
  virtual Scratch scratch(std::span<const TensorSpec>) const { return {}; }
  // True where backward runs ops of its own: it is then run on shapes too, so that what they take is counted.
  virtual bool runs_ops_backward() const { return false; }
  virtual void forward(Forward&) = 0;
  virtual void backward(Backward&) = 0;
  // True where outputs are column ranges of input 0 in the same memory, so that their gradients may be written into
  // one buffer (see Tape).
  virtual bool splits_columns() const { return false; }
};

// Runs an op: checks shapes, counts, computes, looks for NaN when asked to, and records when a tape is recording and
// some input is tracked. The only way in.
std::vector<Tensor> run_many(std::unique_ptr<Op> op, std::span<const Tensor> inputs);  // kMostInputs at most
inline std::vector<Tensor> run_many(std::unique_ptr<Op> op, std::initializer_list<Tensor> inputs) {
  return run_many(std::move(op), std::span(inputs.begin(), inputs.size()));
}
Tensor run(std::unique_ptr<Op> op, std::initializer_list<Tensor> inputs);  // of an op with one visible output

}  // namespace effllm
