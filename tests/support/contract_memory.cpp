// What is remembered is what the state says, what is kept and counted is known from shapes, and nothing is allocated
// twice.
#include <doctest/doctest.h>

#include <cmath>

#include "autodiff/meter.h"
#include "support/contract_parts.h"
#include "support/models.h"

namespace effllm::test {

// Two sequences interleaved through one object come out as if alone, of states that began as one; and a state that was
// copied half-way can be gone back to.
void check_no_hidden_memory(const Built& m, const LayerInfo& info) {
  if (!info.causal_form) return;  // it remembers nothing
  const int64_t n = length(info);
  const Tensor xa = random({kBatch, n, kWidth}, 2), xb = random({kBatch, n, kWidth}, 5), ya = m.forward(xa),
               yb = m.forward(xb);
  State a = m.mixer->make_state(kBatch, n, DType::f64), b = a, half;
  for (int64_t t = 0; t < n; ++t) {
    CHECK(max_diff(m.forward(token(xa, t), &a), token(ya, t)) < 1e-10);
    CHECK(max_diff(m.forward(token(xb, t), &b), token(yb, t)) < 1e-10);
    if (t == n / 2) half = a;
  }
  for (int64_t t = n / 2 + 1; t < n; ++t) CHECK(max_diff(m.forward(token(xa, t), &half), token(ya, t)) < 1e-10);
}

// What is read behind a mark and taken back leaves no trace, however much of it stays.
void check_rewind(const Built& m, const LayerInfo& info, double bound) {
  if (!info.causal_form || !info.waivers.split.empty()) return;
  const DType type = m.store.dtype();
  const int64_t n = length(info), at = n / 2;
  const Tensor x = random({kBatch, n, kWidth}, 2, type), other = random({kBatch, n, kWidth}, 5, type), y = m.forward(x);
  for (const int64_t stay : {int64_t{0}, int64_t{1}, info.period - 1, info.period, n - at}) {
    if (stay > n - at) continue;
    INFO("of ", n - at, " tokens ", stay, " stay");
    State s = m.mixer->make_state(kBatch, n, type);
    m.forward(tokens(x, 0, at), &s);
    const State branch = stay == 1 ? s : State();  // another may go on from here too
    s.mark();
    for (int round = 0; round < 2; ++round) {
      s.rewind(0);
      const Tensor read = Tensor::empty({kBatch, n - at, kWidth}, type);
      for (int64_t b = 0; b < kBatch; ++b)
        for (int64_t t = 0; t < n - at; ++t)
          copy((t < stay ? x : other).row_range(b * n + at + t, {1, kWidth}),
               read.row_range(b * (n - at) + t, {1, kWidth}));
      m.forward(read, &s);
      if (!s.rewind(0, stay)) m.forward(tokens(x, at, at + stay), &s);
      CHECK(s.field(s.root(), "seen").data<int64_t>()[kBatch - 1] == at + stay);
    }
    for (int64_t t = at + stay; t < n; ++t) CHECK(max_diff(m.forward(token(x, t), &s), token(y, t)) < bound);
    if (stay != 1) continue;
    State other_way = branch;
    for (int64_t t = at; t < n; ++t) CHECK(max_diff(m.forward(token(x, t), &other_way), token(y, t)) < bound);
  }
}

// Wiping a declared field changes what follows, and of one that does not grow with the tokens every number is used: the
// size of the state is not overstated.
void check_no_idle_memory(const Built& m, const LayerInfo& info) {
  if (!info.causal_form) return;
  const int64_t n = length(info), cut = n / 2;
  const Tensor x = random({kBatch, n, kWidth}, 2), whole = m.forward(x);
  const auto site = site_of(*m.mixer);
  for (const StateField* declared : site->all()) {
    const StateField& field = *declared;
    if (field.count) continue;
    const auto of = [&](const State& s) {
      Tensor value;
      s.each([&](const StateField& f, const Tensor& t) {
        if (f.path == field.path) value = t;
      });
      return value;
    };
    if (field.growth != Growth::per_token) {
      State s = m.mixer->make_state(kBatch, n, DType::f64);
      const Tensor used = Tensor::zeros(of(s).shape(), DType::f64);
      for (int64_t t = 0; t < n; ++t) {
        m.forward(tokens(x, t, t + 1), &s);
        for (int64_t r = 0; r < used.rows(); ++r)
          for (int64_t c = 0; c < used.cols(); ++c) put(used, r, c, at(used, r, c) + std::abs(at(of(s), r, c)));
      }
      double least = used.numel() > 0 ? at(used, 0, 0) : 1;
      for (int64_t r = 0; r < used.rows(); ++r)
        for (int64_t c = 0; c < used.cols(); ++c) least = std::min(least, at(used, r, c));
      INFO(field.path);
      CHECK(least > 0);
    }
    State s = m.mixer->make_state(kBatch, n, DType::f64);
    m.forward(tokens(x, 0, cut), &s);
    fill(of(s), 0);
    CHECK(max_diff(m.forward(tokens(x, cut, n), &s), tokens(whole, cut, n)) > 1e-9);
  }
}

void check_meta(const Built& m, const LayerInfo& info, const ConfigNode& node) {
  const int64_t n = length(info);
  const auto kept = [&](const Built& built, const Tensor& x) {
    Tape tape;
    const Tape::Recording recording(tape);
    Meter meter;
    // What looks at numbers alone before it chooses costs as many tokens as they say; in training that is settled.
    const Phase phase = m.mixer->trains_otherwise() ? Phase::train : Phase::infer;
    const Tensor y = built.forward(tape.leaf(x), nullptr, nullptr, 0, phase);
    CHECK(y.shape() == Shape{kBatch, n, kWidth});
    CHECK(meter.total.forward_flops > 0);
    return std::pair{tape.kept_bytes(), meter.total.forward_flops};
  };
  const auto real = kept(m, random({kBatch, n, kWidth}, 2));
  const MetaMode meta;
  Built shapes(info, node, kWidth, DType::f64);
  shapes.store.as_meta(DType::f64);
  const auto counted = kept(shapes, Tensor::empty({kBatch, n, kWidth}, DType::f64));
  if (!info.waivers.costs.empty() && !m.mixer->trains_otherwise()) {
    MESSAGE("costs as expected: ", std::string(info.waivers.costs));
    for (const double ratio :
         {static_cast<double>(counted.first) / static_cast<double>(real.first), counted.second / real.second}) {
      CHECK(ratio > 0.5);
      CHECK(ratio < 2);
    }
    return;
  }
  CHECK(counted.first == real.first);
  CHECK(counted.second == real.second);
}

// As in a worker, which runs its shards alone: of several threads in one op, which takes a part is chance.
void check_warm(const Built& m, const LayerInfo& info) {
  const Threads one(1);
  const Tensor x = random({kBatch, length(info), kWidth}, 2), g = random(x.shape(), 3);
  Slab slab(m.store.slab_elements(), DType::f64);
  ParamGrads grads = m.store.gradients(slab);
  ParamGrads::current = &grads;
  const auto step = [&] {
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor y = m.forward(tape.leaf(x), nullptr, nullptr, 0, Phase::train);
    tape.backward(y, g);
  };
  step();
  step();
  const size_t before = BufferPool::local().misses();
  step();
  ParamGrads::current = nullptr;
  CHECK(BufferPool::local().misses() == before);
}

}  // namespace effllm::test
