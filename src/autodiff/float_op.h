// What ops on floats share: one body for both types, costs by the number, results as structs.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Self has `template <class T>` members `void forward_in(Forward&)` and `void backward_in(Backward&)`; T is the type of
// its first input.
template <class Self>
class FloatOp : public Op {
 public:
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() { static_cast<Self*>(this)->template forward_in<T>(c); });
  }
  void backward(Backward& c) override {
    dispatch_float(c.dtype(), [&]<class T>() { static_cast<Self*>(this)->template backward_in<T>(c); });
  }
};

inline double numbers(const Tensor& x) { return static_cast<double>(x.numel()); }
inline double bytes_of_number(const Tensor& x) { return static_cast<double>(size_of(x.dtype())); }
// Of an op that treats all numbers of x alike: FLOPs for each number, and bytes for each byte.
inline Cost per_number(const Tensor& x, const Cost& each) {
  const double n = numbers(x), bytes = static_cast<double>(x.bytes());
  return {n * each.forward_flops, n * each.backward_flops, bytes * each.forward_bytes, bytes * each.backward_bytes};
}

// The visible outputs as the fields of a struct that has no others.
template <class Result>
Result run_to(std::unique_ptr<Op> op, std::initializer_list<Tensor> inputs) {
  std::vector<Tensor> out = run_many(std::move(op), inputs);
  const auto fields = [&]<size_t... I>(std::index_sequence<I...>) { return Result{std::move(out[I])...}; };
  return fields(std::make_index_sequence<sizeof(Result) / sizeof(Tensor)>());
}

}  // namespace effllm
