#include "cores/common/memories.h"

#include <cmath>

#include "cores/common/reference.h"
#include "cores/delta/delta.h"

namespace effllm::test {
namespace {

// Rows of length one in each head.
Tensor of_length_one(const Tensor& k, int64_t heads) {
  const int64_t width = k.cols() / heads;
  for (int64_t r = 0; r < k.rows(); ++r)
    for (int64_t h = 0; h < heads; ++h) {
      double square = 0;
      for (int64_t i = h * width; i < (h + 1) * width; ++i) square += at(k, r, i) * at(k, r, i);
      for (int64_t i = h * width; i < (h + 1) * width; ++i) put(k, r, i, at(k, r, i) / std::sqrt(square));
    }
  return k;
}

template <class Result>
Tensors list(const Result& r) {
  return {r.o, r.state};
}

}  // namespace

Tensor memory_documents() {
  return integers({2, kMemoryTokens}, {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
}

Tensor log_decays(const Shape& s, uint64_t seed) {
  return mapped(random(s, seed), [](double x) { return -0.5 * std::abs(x); });
}

Tensors Memory::inputs(int64_t dk, int64_t dv, int64_t steps, int64_t batch) const {
  const int64_t heads = options.heads, key_heads = options.key_heads > 0 ? options.key_heads : heads;
  const Tensor k = random({batch, steps, key_heads * dk}, 2);
  return {random({batch, steps, key_heads * dk}, 1),
          delta ? of_length_one(k, heads) : k,
          random({batch, steps, heads * dv}, 3),
          delta ? mapped(random({batch, steps, heads}, 4), [](double x) { return 2 / (1 + std::exp(-x)); }) : Tensor(),
          decays() ? log_decays({batch, steps, heads * (options.decay == Decay::key ? dk : 1)}, 5) : Tensor(),
          random({batch, heads, dk, dv}, 6)};
}

Tensors Memory::run(const Tensors& x, const Tensor& segments) const {
  if (delta)
    return list(
        effllm::delta(x[0], x[1], x[2], x[3], x[4], x[5], segments, {.heads = options.heads, .chunk = options.chunk}));
  return list(gla(x[0], x[1], x[2], x[4], x[5], segments, options));
}

Tensors Memory::reference(const Tensors& x, const Tensor& segments) const {
  if (delta) return list(reference_delta(x[0], x[1], x[2], x[3], x[4], x[5], segments, {.heads = options.heads}));
  return list(reference_gla(x[0], x[1], x[2], x[4], x[5], segments, options));
}

Function Memory::function(const Tensor& segments) const {
  return [memory = *this, segments](const Tensors& x) { return memory.run(x, segments); };
}

std::vector<Memory> all_memories() {
  std::vector<Memory> all = {{"delta", true, {.heads = 2, .decay = Decay::none}},
                             {"delta, decays", true, {.heads = 2, .decay = Decay::scalar}}};
  for (Decay decay : {Decay::none, Decay::scalar, Decay::key})
    for (bool exclusive : {false, true})
      for (int64_t key_heads : {0, 2})
        all.push_back({"gla, decay " + std::to_string(static_cast<int>(decay)) + (exclusive ? ", exclusive" : "") +
                           (key_heads ? ", shared keys" : ""),
                       false,
                       {.heads = key_heads ? 4 : 2, .decay = decay, .exclusive = exclusive, .key_heads = key_heads}});
  return all;
}

}  // namespace effllm::test
