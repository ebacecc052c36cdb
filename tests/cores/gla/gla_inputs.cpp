#include "cores/gla/gla_inputs.h"

#include <cmath>

namespace effllm::test {

Tensor gla_documents() {
  return integers({2, kGlaTokens}, {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
}

Tensor log_decays(const Shape& s, uint64_t seed, double scale) {
  return mapped(random(s, seed, DType::f64, scale), [](double x) { return -std::abs(x); });
}

GlaInputs::GlaInputs(GlaOptions o, int64_t dk, int64_t dv, int64_t steps, int64_t batch) : options(o) {
  const int64_t h = o.heads, key_heads = o.key_heads > 0 ? o.key_heads : h;
  q = random({batch, steps, key_heads * dk}, 1);
  k = random({batch, steps, key_heads * dk}, 2);
  v = random({batch, steps, h * dv}, 3);
  const int64_t channels = o.decay == Decay::key ? dk : 1;
  if (o.decay != Decay::none) log_decay = log_decays({batch, steps, h * channels}, 4);
  state0 = random({batch, h, dk, dv}, 5);
}

GlaInputs GlaInputs::as_f32() const {
  GlaInputs f32 = *this;
  const Tensors x = inputs_as(list(), DType::f32);
  f32.q = x[0], f32.k = x[1], f32.v = x[2], f32.log_decay = x[3], f32.state0 = x[4];
  return f32;
}

GlaResult GlaInputs::run(int64_t from, int64_t to, const Tensor& state) const {
  const auto cut = [&](const Tensor& x) { return tokens(x, from, to); };
  return gla(cut(q), cut(k), cut(v), cut(log_decay), state, {}, options);
}

std::vector<GlaOptions> all_gla_options() {
  std::vector<GlaOptions> all;
  for (Decay decay : {Decay::none, Decay::scalar, Decay::key})
    for (bool exclusive : {false, true}) {
      all.push_back({.heads = 2, .decay = decay, .exclusive = exclusive});
      all.push_back({.heads = 4, .decay = decay, .exclusive = exclusive, .key_heads = 2});
    }
  return all;
}

Function both_results(const GlaOptions& options, const Tensor& segments) {
  return [=](const Tensors& x) {
    const GlaResult r = gla(x[0], x[1], x[2], x[3], x[4], segments, options);
    return std::vector{r.o, r.state};
  };
}

}  // namespace effllm::test
