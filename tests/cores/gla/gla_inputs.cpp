#include "cores/gla/gla_inputs.h"

#include <cmath>

namespace effllm::test {

Tensor gla_documents() {
  const int64_t numbers[] = {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2};
  const Tensor t = Tensor::dense({2, kGlaTokens}, DType::i64);
  std::copy(std::begin(numbers), std::end(numbers), t.data<int64_t>());
  return t;
}

Tensor log_decays(const Shape& s, uint64_t seed, double scale) {
  const Tensor x = random(s, seed, DType::f64, scale);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c) put(x, r, c, -std::abs(at(x, r, c)));
  return x;
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
  for (Tensor* t : {&f32.q, &f32.k, &f32.v, &f32.log_decay, &f32.state0})
    if (t->defined()) *t = to_dtype(*t, DType::f32);
  return f32;
}

GlaResult GlaInputs::run(int64_t from, int64_t to, const Tensor& state) const {
  const auto cut = [&](const Tensor& x) { return x.defined() ? tokens(x, from, to) : x; };
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

Tensors everything(const GlaInputs& in, const Tensor& segments, const GlaOptions& options) {
  Tape tape;
  const Tape::Recording recording(tape);
  Tensors x;
  for (const Tensor& t : in.list()) x.push_back(t.defined() ? tape.leaf(t) : t);
  const GlaResult r = gla(x[0], x[1], x[2], x[3], x[4], segments, options);
  const DType type = in.q.dtype();
  const Tape::Seed seeds[] = {{r.o, random(r.o.shape(), 11, type)}, {r.state, random(r.state.shape(), 12, type)}};
  tape.backward(seeds);
  Tensors all{r.o, r.state};
  for (const Tensor& t : x)
    if (t.defined()) all.push_back(tape.grad(t));
  return all;
}

}  // namespace effllm::test
