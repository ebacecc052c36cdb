#include "support/contract_parts.h"

#include "base/random.h"

namespace effllm::test {

Built::Built(const LayerInfo& info, const ConfigNode& node, int64_t width, DType type, uint64_t seed)
    : options(info.options()), direction(info.causal_form ? Direction::causal : Direction::bidirectional) {
  read(*options, node, info.name);
  const LayerArgs args{
      .d_model = width, .layer = 1, .layers = 2, .max_tokens = 16, .index_of_kind = 1, .layers_of_kind = 2};
  mixer = info.build(*options, args, Scope(store, "mixer."));
  store.materialize(seed, type);
  if (site_of(*mixer)->reads_memory()) {
    memory = MetaMode::on() ? Tensor::empty({1, 6, width}, type) : random({1, 6, width}, 77, type);
  }
}

void Built::shake(double scale) {
  for (Parameter* p : store.sorted()) {
    const Tensor noise = random(p->shape, fnv1a(p->name), p->value.dtype(), scale);
    for (int64_t r = 0; r < p->value.rows(); ++r)
      for (int64_t c = 0; c < p->value.cols(); ++c) put(p->value, r, c, at(p->value, r, c) + at(noise, r, c));
  }
}

Tensor Built::forward(const Tensor& x, State* s, const Tensor* segments, int64_t chunk, Phase phase) const {
  Context cx;
  cx.ids = ids_of(x);
  cx.state = s;
  if (segments) cx.segments = *segments;
  cx.chunk = chunk;
  cx.phase = phase;
  cx.step = step;
  cx.direction = direction;
  if (memory.defined() && (!s || x.is_meta() || s->field(s->root(), "seen").data<int64_t>()[0] == 0)) {
    cx.memory.rows = Tensor::empty(memory.shape().with(0, x.dim(0)), memory.dtype());
    cx.memory.lengths = Tensor::dense({x.dim(0)}, DType::i64);
    for (int64_t b = 0; !x.is_meta() && b < x.dim(0); ++b) {
      copy(memory.row_range(0, {memory.dim(1), memory.cols()}),
           cx.memory.rows.row_range(b * memory.dim(1), {memory.dim(1), memory.cols()}));
      cx.memory.lengths.data<int64_t>()[b] = memory.dim(1) - 1;
    }
  }
  return mixer->forward(x, cx);
}

int64_t length(const LayerInfo& info) { return std::max<int64_t>(13, 3 * info.period + 1); }

std::vector<int64_t> cuts(const LayerInfo& info, int64_t n) {
  std::vector<int64_t> all;
  for (int64_t c : {int64_t{1}, info.period - 1, info.period, info.period + 1, n - 1})
    if (c > 0 && c < n) all.push_back(c);
  return all;
}

Tensor token(const Tensor& x, int64_t t) { return tokens(x, t, t + 1); }

Tensors train_pass(const Built& m, const Tensor& x) {
  Slab slab(m.store.slab_elements(), x.dtype());
  ParamGrads grads = m.store.gradients(slab);
  ParamGrads::current = &grads;
  Tape tape;
  const Tensor leaf = tape.leaf(x);
  Tensors results(1);
  const Tape::Recording recording(tape);
  results[0] = m.forward(leaf, nullptr, nullptr, 0, Phase::train);
  tape.backward(results[0], random(x.shape(), 3, x.dtype()));
  ParamGrads::current = nullptr;
  grads.zero_unwritten();
  results.push_back(tape.grad(leaf));
  for (const Tensor& g : grads.views) results.push_back(g.clone());
  return results;
}

Tensor two_documents(const std::vector<int64_t>& borders, int64_t n) {
  const Tensor segments = Tensor::zeros({static_cast<int64_t>(borders.size()), n}, DType::i64);
  for (int64_t b = 0; b < segments.dim(0); ++b)
    for (int64_t t = borders[static_cast<size_t>(b)]; t < n; ++t) put(segments, b, t, 1);
  return segments;
}

}  // namespace effllm::test
