#include "model/state_bytes.h"

#include <algorithm>

namespace effllm {

StateBytes state_bytes(const Site& site, int64_t tokens, DType t, int64_t memory) {
  StateBytes b{.all = site.bytes(tokens, t, memory)};
  int64_t fixed = 0;
  for (const StateField* f : site.all())
    if (f->growth == Growth::fixed && !f->count) fixed += f->shape.numel() * static_cast<int64_t>(size_of(t));
  b.rows = b.all - fixed;
  return b;
}

StateBytes state_bytes(const State& state, int64_t tokens) {
  StateBytes b;
  state.each([&](const StateField& f, const Tensor& x) {
    if (f.count) return;
    const int64_t each = static_cast<int64_t>(size_of(x.dtype()));
    if (f.growth == Growth::fixed || f.growth == Growth::memory) {
      b.all += x.numel() * each;
      if (f.growth == Growth::memory) b.rows += x.numel() * each;
      return;
    }
    const int64_t held = std::min(x.dim(1), f.rows(tokens)) * (x.numel() / std::max<int64_t>(1, x.dim(1))) * each;
    b.all += held;
    b.rows += held;
  });
  return b;
}

}  // namespace effllm
