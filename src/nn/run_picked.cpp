#include "nn/run_picked.h"

#include <algorithm>

namespace effllm {
namespace {

// Those that are not picked and in which a document begins.
Sequences begun(const Call& call, const Sequences& picked, int64_t batch) {
  Sequences all;
  const Tensor& segments = call.segments();
  if (!segments.defined() || segments.is_meta()) return all;
  for (int64_t b = 0; b < batch; ++b)
    if (!std::ranges::binary_search(picked, b) && segments.view<int64_t>().row(b)[segments.cols() - 1] > 0)
      all.push_back(b);
  return all;
}

}  // namespace

Tensor run_picked(const Tensor& x, const Call& call, const Sequences& picked, const Run& f) {
  if (call.has_state())
    if (const Sequences anew = begun(call, picked, x.dim(0)); !anew.empty())
      call.pass().state->forget(call.site(), call.tokens().pick(anew).sequences);
  if (picked.empty()) return x;
  Tokens tokens = call.tokens().pick(picked);
  tokens.shelf = call.shelf_of([&](const Tensor& value) { return take_sequences(value, picked); });
  return put_sequences(x, picked, f(take_sequences(x, picked), call.with(call.pass(), tokens)));
}

}  // namespace effllm
