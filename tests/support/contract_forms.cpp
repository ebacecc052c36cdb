// Every form gives the same: any cut, chunk, batch and packing of documents, and nothing looks ahead.
#include <doctest/doctest.h>

#include "support/contract_parts.h"

namespace effllm::test {

void check_splits(const Built& m, const LayerInfo& info, int64_t n, int64_t width, double bound) {
  const Tensor x = random({kBatch, n, width}, 2, m.store.dtype()), whole = m.forward(x);
  if (!info.waivers.split.empty()) {
    if (info.causal_form) MESSAGE("cuts waived: ", std::string(info.waivers.split));
    return;
  }
  for (int64_t cut : cuts(info, n)) {
    State s = m.mixer->make_state(kBatch, n, whole.dtype());
    CHECK(max_diff(m.forward(tokens(x, 0, cut), &s), tokens(whole, 0, cut)) < bound);
    CHECK(max_diff(m.forward(tokens(x, cut, n), &s), tokens(whole, cut, n)) < bound);
  }
  State s = m.mixer->make_state(kBatch, n, whole.dtype());
  for (int64_t t = 0; t < n; ++t) CHECK(max_diff(m.forward(token(x, t), &s), token(whole, t)) < bound);
  CHECK(s.field(s.root(), "seen").data<int64_t>()[0] == n);
}

void check_chunks(const Built& m, const LayerInfo& info) {
  const Tensor x = random({kBatch, length(info), kWidth}, 2), whole = m.forward(x);
  for (int64_t chunk : {1, 3, 4, 64}) CHECK(max_diff(m.forward(x, nullptr, nullptr, chunk), whole) < 1e-10);
}

// What comes later changes no bit of what came before, and no gradient flows back to it. A mechanism that waives this
// mixes tokens by exact cancellation: rounding of the size of the largest input may remain, and nothing else.
void check_causality(const Built& m, const LayerInfo& info) {
  if (!info.causal_form) return;
  const bool rounding = !info.waivers.causal.empty();
  if (rounding) MESSAGE("causality up to rounding: ", std::string(info.waivers.causal));
  const int64_t n = length(info);
  const Tensor x = random({kBatch, n, kWidth}, 2), y = m.forward(x);
  for (int64_t t : {int64_t{0}, info.period - 1, info.period, n - 2}) {
    Tensor changed = x.clone();
    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t r = b * n + t + 1; r < (b + 1) * n; ++r)
        for (int64_t c = 0; c < kWidth; ++c) put(changed, r, c, -1000 * at(x, r, c));
    const Tensor before = tokens(m.forward(changed), 0, t + 1);
    const double allowed = rounding ? 1e-12 * max_abs(changed) : 0;
    CHECK(max_diff(before, tokens(y, 0, t + 1)) <= allowed);
    Tape tape;
    const Tensor leaf = tape.leaf(x);
    Slab slab(m.store.slab_elements(), DType::f64);
    ParamGrads grads = m.store.gradients(slab);
    ParamGrads::current = &grads;
    Tensor seed = Tensor::zeros(y.shape(), DType::f64);
    for (int64_t b = 0; b < kBatch; ++b)
      for (int64_t r = b * n; r <= b * n + t; ++r)
        for (int64_t c = 0; c < kWidth; ++c) put(seed, r, c, 1 + static_cast<double>(c));
    const Tape::Recording recording(tape);
    const Tensor z = m.forward(leaf);
    tape.backward(z, seed);
    ParamGrads::current = nullptr;
    CHECK(max_abs(tokens(tape.grad(leaf), t + 1, n)) <= (rounding ? 1e-12 * max_abs(seed) : 0));
  }
}

void check_batch(const Built& m, const LayerInfo& info) {
  const int64_t n = length(info);
  const Tensor x = random({kBatch, n, kWidth}, 2), y = m.forward(x);
  for (int64_t b = 0; b < kBatch; ++b)
    CHECK(max_diff(m.forward(x.row_range(b * n, {1, n, kWidth}).clone()), y.row_range(b * n, {1, n, kWidth})) < 1e-12);
}

// Documents in a row come out as each alone, at borders that differ between sequences, one of a single token among
// them, with any chunk, and where a state takes part, cut around the borders and then token by token without documents.
// The last ones are as long as a row elsewhere.
void check_documents(const Built& m, const LayerInfo& info) {
  const int64_t n = info.period + 2 + length(info);
  const std::vector<std::vector<int64_t>> borders = {{info.period + 2}, {info.period - 1, info.period}};
  const Tensor x = random({kBatch, n, kWidth}, 2), segments = Tensor::zeros({kBatch, n}, DType::i64);
  for (int64_t b = 0; b < kBatch; ++b)
    for (const int64_t border : borders[static_cast<size_t>(b)])
      for (int64_t t = border; t < n; ++t) put(segments, b, t, 1 + at(segments, b, t));
  const Tensor packed = m.forward(x, nullptr, &segments);
  for (int64_t b = 0; b < kBatch; ++b) {
    const Tensor own = x.row_range(b * n, {1, n, kWidth}).clone(), y = packed.row_range(b * n, {1, n, kWidth}).clone();
    std::vector<int64_t> all = borders[static_cast<size_t>(b)];
    all.push_back(n);
    for (int64_t from = 0; const int64_t to : all) {
      if (to > from) CHECK(max_diff(tokens(y, from, to), m.forward(tokens(own, from, to))) < 1e-10);
      from = to;
    }
  }
  CHECK(max_diff(m.forward(x, nullptr, &segments, 3), packed) < 1e-10);
  if (!info.causal_form) return;
  const int64_t p = info.period;
  for (int64_t cut : {p - 2, p - 1, p, p + 1, p + 2, p + 3, n - 1}) {
    if (cut <= 0) continue;
    State s = m.mixer->make_state(kBatch, n, DType::f64);
    const int64_t next = std::min(cut + 2, n - 1), rest = std::max(next, p + 3);
    for (const auto& [from, to] : {std::pair{int64_t{0}, cut}, {cut, next}, {next, rest}}) {
      if (from >= to) continue;
      const Tensor documents = segments_of_call(segments, from, to);
      const Tensor y = m.forward(tokens(x, from, to), &s, &documents, from > 0 ? 3 : 0);
      CHECK(max_diff(y, tokens(packed, from, to)) < 1e-10);
    }
    for (int64_t t = rest; t < n; ++t) CHECK(max_diff(m.forward(token(x, t), &s), token(packed, t)) < 1e-10);
    for (int64_t b = 0; b < kBatch; ++b)
      CHECK(s.field(s.root(), "seen").data<int64_t>()[b] == n - borders[static_cast<size_t>(b)].back());
  }
}

}  // namespace effllm::test
