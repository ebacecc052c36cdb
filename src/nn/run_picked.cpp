#include "nn/run_picked.h"

#include <algorithm>

namespace effllm {
namespace {

// Those that are not picked and in which a document begins.
Sequences begun(const Call& call, const Sequences& picked, int64_t batch) {
  Sequences all;
  const Tensor segments = call.segments();
  if (!segments.defined() || segments.is_meta()) return all;
  for (int64_t b = 0; b < batch; ++b)
    if (!std::ranges::binary_search(picked, b) && segments.view<int64_t>().row(b)[segments.cols() - 1] > 0)
      all.push_back(b);
  return all;
}

}  // namespace

Tensor run_picked(const Tensor& x, const Call& call, const Sequences& picked, const Run& f) {
  State* const all = call.pass().state;
  State part = all ? all->at(call.site()) : State();
  if (all)
    if (const Sequences anew = begun(call, picked, x.dim(0)); !anew.empty())
      all->put(anew, part.nothing(static_cast<int64_t>(anew.size())));
  if (picked.empty()) return x;
  const auto taken = [&](const Tensor* t) { return t ? take_sequences(*t, picked) : Tensor(); };
  Context pass = call.pass();
  const Tensor segments = taken(pass.segments), positions = taken(pass.positions);
  std::vector<int64_t> samples;
  for (const int64_t b : picked) samples.push_back(pass.when.samples[b]);
  pass.when.samples = Samples(std::move(samples));
  pass.segments = segments.defined() ? &segments : nullptr;
  pass.positions = positions.defined() ? &positions : nullptr;
  pass.state = all ? &(part = part.take(picked)) : nullptr;
  const Tensor y = put_sequences(x, picked, f(take_sequences(x, picked), call.with(pass)));
  if (all) all->put(picked, part);
  return y;
}

}  // namespace effllm
