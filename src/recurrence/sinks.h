// Destinations of several gradients that one kernel writes together.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// The memory of input i's gradient without a share in it, undefined where nobody wants it. The tape gives a buffer
// that others share a copy of its own; where two inputs are one tensor, the first sink, still held, would count as
// another. This way the second gets the same memory and adds to what the first wrote: write in the order of asking.
inline Sink unowned_sink(Backward& c, int i) {
  if (!c.wants(i)) return {Tensor(), false};
  const Sink s = c.sink(i);
  return {Tensor::view_of(s.into.raw(), s.into.shape(), s.into.dtype(), s.into.stride()), s.accumulate};
}

}  // namespace effllm
