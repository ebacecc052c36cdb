// A kernel: a function that is compiled once for each instruction set, in isa/, and called as that of the set in use.
// All are noexcept and sequential; callers have checked every size. `add`: add to the destination instead of
// overwriting it. A header of each family declares them, with the structs that they take.
#pragma once
#include <cstdint>

namespace effllm {

void choose_isa();  // once, at the first call: see isa.h

template <class Signature>
struct Kernel;
template <class Result, class... Args>
struct Kernel<Result(Args...)> {
  Result operator()(Args... args) const {
    choose_isa();
    return run(args...);
  }
  Result (*run)(Args...) noexcept = nullptr;  // set by isa/
};

// Declares kernel::name<T>, for float and double, of a signature in which T is the type.
#define EFFLLM_KERNEL(name, ...)   \
  namespace kernel {               \
  template <class T>               \
  inline Kernel<__VA_ARGS__> name; \
  }

}  // namespace effllm
