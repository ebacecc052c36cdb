#include "support/contract.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "autodiff/meter.h"
#include "base/random.h"
#include "kernels/parallel.h"
#include "support/models.h"
#include "support/tensors.h"

namespace effllm::test {
namespace {

constexpr int64_t kBatch = 2, kWidth = 8;

struct Built {
  ParamStore store;
  std::unique_ptr<Options> options;
  std::unique_ptr<SequenceMixer> mixer;
  Direction direction;
  Built(const MixerInfo& info, const ConfigNode& node, int64_t width, DType type, uint64_t seed = 3)
      : options(info.options()), direction(info.causal_form ? Direction::causal : Direction::bidirectional) {
    read(*options, node, info.name);
    // The second of two layers: some mechanisms leave something out in the first.
    const MixerArgs args{
        .d_model = width, .layer = 1, .layers = 2, .max_tokens = 16, .index_of_kind = 1, .layers_of_kind = 2};
    mixer = info.build(*options, args, Scope(store, "mixer."));
    store.materialize(seed, type);
  }
  // Larger weights than the initial ones, so that every path matters in a comparison.
  void shake(double scale) {
    for (Parameter* p : store.sorted()) {
      const Tensor noise = random(p->shape, fnv1a(p->name), p->value.dtype(), scale);
      for (int64_t r = 0; r < p->value.rows(); ++r)
        for (int64_t c = 0; c < p->value.cols(); ++c) put(p->value, r, c, at(p->value, r, c) + at(noise, r, c));
    }
  }
  Tensor forward(const Tensor& x, MixerState* s = nullptr, const Tensor* segments = nullptr, int64_t chunk = 0,
                 Phase phase = Phase::infer) const {
    Context cx;
    cx.state = s;
    cx.segments = segments;
    cx.chunk = chunk;
    cx.phase = phase;
    cx.direction = direction;
    return mixer->forward(x, cx);
  }
};

int64_t length(const MixerInfo& info) { return std::max<int64_t>(13, 3 * info.period + 1); }

std::vector<int64_t> cuts(const MixerInfo& info, int64_t n) {
  std::vector<int64_t> all;
  for (int64_t c : {int64_t{1}, info.period - 1, info.period, info.period + 1, n - 1})
    if (c > 0 && c < n) all.push_back(c);
  return all;
}

Tensor token(const Tensor& x, int64_t t) { return tokens(x, t, t + 1); }  // x[:, t] as [B, 1, D]

// One step of training without its update: the output, and the gradients of x and of all parameters.
std::vector<Tensor> train_pass(const Built& m, const Tensor& x) {
  Slab slab(m.store.slab_elements(), x.dtype());
  ParamGrads grads = m.store.gradients(slab);
  ParamGrads::current = &grads;
  Tape tape;
  const Tensor leaf = tape.leaf(x);
  std::vector<Tensor> results(1);
  {
    const Tape::Recording recording(tape);
    results[0] = m.forward(leaf, nullptr, nullptr, 0, Phase::train);
    tape.backward(results[0], random(x.shape(), 3, x.dtype()));
  }
  ParamGrads::current = nullptr;
  grads.zero_unwritten();
  results.push_back(tape.grad(leaf));
  for (const Tensor& g : grads.views) results.push_back(g.clone());
  return results;
}

// Document starts for rows of n tokens, one inside each row: sequence b's at borders[b].
Tensor two_documents(const std::vector<int64_t>& borders, int64_t n) {
  const Tensor segments = Tensor::zeros({static_cast<int64_t>(borders.size()), n}, DType::i64);
  for (int64_t b = 0; b < segments.dim(0); ++b)
    for (int64_t t = borders[static_cast<size_t>(b)]; t < n; ++t) put(segments, b, t, 1);
  return segments;
}

// The same for a call with tokens [from, to) of those rows.
Tensor segments_of_call(const Tensor& segments, int64_t from, int64_t to) {
  const Tensor part = Tensor::zeros({segments.dim(0), to - from}, DType::i64);
  for (int64_t b = 0; b < part.dim(0); ++b)
    for (int64_t t = from; t < to; ++t)
      put(part, b, t - from, at(segments, b, t) - (from > 0 ? at(segments, b, from - 1) : 0));
  return part;
}

// carried: through a first call and a second one that continues, so that initial and final states carry gradients too;
// otherwise in one call without a state. packed: rows of two documents each, computed in chunks.
void check_gradients(const Built& m, const MixerInfo& info, Phase phase, bool carried, bool packed,
                     int64_t width = kWidth) {
  const int64_t n = length(info), cut = info.period + 1;
  const Tensor x = random({kBatch, n, width}, 2);
  const Tensor segments = two_documents({std::max<int64_t>(1, info.period - 1), info.period + 2}, n);
  std::vector<std::pair<int64_t, int64_t>> calls = {{0, n}};
  if (carried) calls = {{0, cut}, {cut, n}};
  std::vector<Tensor> values;
  for (Parameter* p : m.store.sorted()) values.push_back(p->value);
  // A directional derivative over x and all parameters at once.
  std::vector<Tensor> directions = {random(x.shape(), 5)};
  for (size_t i = 0; i < values.size(); ++i) directions.push_back(random(values[i].shape(), 50 + i));
  const auto inputs = [&] {
    std::vector<Tensor> in;
    for (const auto& [from, to] : calls) in.push_back(tokens(x, from, to));
    return in;
  };
  const auto run = [&](const std::vector<Tensor>& in) {
    MixerState s;
    if (carried) s = m.mixer->make_state(kBatch, n, DType::f64);
    std::vector<Tensor> y;
    for (size_t i = 0; i < in.size(); ++i) {
      const Tensor documents = segments_of_call(segments, calls[i].first, calls[i].second);
      y.push_back(m.forward(in[i], carried ? &s : nullptr, packed ? &documents : nullptr, packed ? 3 : 0, phase));
    }
    for (const Tensor& f : s.fields)
      if (f.numel() > 0) y.push_back(f);
    return y;
  };
  const auto weight = [&](size_t i, const Tensor& y) { return random(y.shape(), 90 + i); };
  Slab slab(m.store.slab_elements(), DType::f64);
  ParamGrads grads = m.store.gradients(slab);
  double analytic = 0;
  {
    Tape tape;
    ParamGrads::current = &grads;
    std::vector<Tensor> leaves;
    for (const Tensor& in : inputs()) leaves.push_back(tape.leaf(in));
    std::vector<Tape::Seed> seeds;
    {
      const Tape::Recording recording(tape);
      const std::vector<Tensor> y = run(leaves);
      for (size_t i = 0; i < y.size(); ++i) seeds.push_back({y[i], weight(i, y[i])});
    }
    tape.backward(seeds);
    ParamGrads::current = nullptr;
    grads.zero_unwritten();
    for (size_t i = 0; i < calls.size(); ++i)
      analytic += dot(tape.grad(leaves[i]), tokens(directions[0], calls[i].first, calls[i].second));
    for (size_t i = 0; i < values.size(); ++i) analytic += dot(grads.views[i], directions[i + 1]);
  }
  const auto shift = [&](double h) {
    for (size_t i = 0; i < directions.size(); ++i) {
      const Tensor& v = i ? values[i - 1] : x;
      for (int64_t r = 0; r < v.rows(); ++r)
        for (int64_t c = 0; c < v.cols(); ++c) put(v, r, c, at(v, r, c) + h * at(directions[i], r, c));
    }
  };
  const auto loss = [&] {
    const std::vector<Tensor> y = run(inputs());
    double sum = 0;
    for (size_t i = 0; i < y.size(); ++i) sum += dot(y[i], weight(i, y[i]));
    return sum;
  };
  constexpr double kStep = 1e-6;
  const auto slope = [&](double h) {  // of central differences
    shift(h);
    const double up = loss();
    shift(-2 * h);
    const double down = loss();
    shift(h);
    return (up - down) / (2 * h);
  };
  const double numeric = (4 * slope(kStep) - slope(2 * kStep)) / 3;  // without the error of second order
  INFO("continued ", carried, ", documents ", packed, ": analytic ", analytic, " numeric ", numeric);
  CHECK(std::abs(analytic - numeric) <= 1e-7 * std::max(1.0, std::abs(numeric)));
}

void check_splits(const Built& m, const MixerInfo& info, int64_t n, int64_t width, double bound) {
  const Tensor x = random({kBatch, n, width}, 2, m.store.dtype()), whole = m.forward(x);
  if (!info.waivers.split.empty()) {
    MESSAGE("cuts waived: ", std::string(info.waivers.split));
    return;
  }
  for (int64_t cut : cuts(info, n)) {
    MixerState s = m.mixer->make_state(kBatch, n, whole.dtype());
    CHECK(max_diff(m.forward(tokens(x, 0, cut), &s), tokens(whole, 0, cut)) < bound);
    CHECK(max_diff(m.forward(tokens(x, cut, n), &s), tokens(whole, cut, n)) < bound);
  }
  MixerState s = m.mixer->make_state(kBatch, n, whole.dtype());
  for (int64_t t = 0; t < n; ++t) CHECK(max_diff(m.forward(token(x, t), &s), token(whole, t)) < bound);
  CHECK(s.seen.data<int64_t>()[0] == n);
}

void check_chunks(const Built& m, const MixerInfo& info) {
  const Tensor x = random({kBatch, length(info), kWidth}, 2), whole = m.forward(x);
  for (int64_t chunk : {1, 3, 4, 64}) CHECK(max_diff(m.forward(x, nullptr, nullptr, chunk), whole) < 1e-10);
}

// What comes later changes no bit of what came before, and no gradient flows back to it. A mechanism that waives this
// mixes tokens by exact cancellation: rounding of the size of the largest input may remain, and nothing else.
void check_causality(const Built& m, const MixerInfo& info) {
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
    {
      const Tape::Recording recording(tape);
      const Tensor z = m.forward(leaf);
      tape.backward(z, seed);
    }
    ParamGrads::current = nullptr;
    CHECK(max_abs(tokens(tape.grad(leaf), t + 1, n)) <= (rounding ? 1e-12 * max_abs(seed) : 0));
  }
}

void check_batch(const Built& m, const MixerInfo& info) {
  const int64_t n = length(info);
  const Tensor x = random({kBatch, n, kWidth}, 2), y = m.forward(x);
  for (int64_t b = 0; b < kBatch; ++b)
    CHECK(max_diff(m.forward(x.row_range(b * n, {1, n, kWidth}).clone()), y.row_range(b * n, {1, n, kWidth})) < 1e-12);
}

// Two documents in a row come out as each alone, at borders that differ between sequences, with any chunk, and where a
// state takes part, cut around the borders and then token by token without documents. The second ones are as long as a
// row elsewhere.
void check_documents(const Built& m, const MixerInfo& info) {
  const int64_t n = info.period + 2 + length(info);
  const std::vector<int64_t> borders = {info.period + 2, info.period};
  const Tensor x = random({kBatch, n, kWidth}, 2), segments = two_documents(borders, n);
  const Tensor packed = m.forward(x, nullptr, &segments);
  for (int64_t b = 0; b < kBatch; ++b) {
    const int64_t border = borders[static_cast<size_t>(b)];
    const Tensor own = x.row_range(b * n, {1, n, kWidth}).clone(), y = packed.row_range(b * n, {1, n, kWidth}).clone();
    CHECK(max_diff(tokens(y, 0, border), m.forward(tokens(own, 0, border))) < 1e-10);
    CHECK(max_diff(tokens(y, border, n), m.forward(tokens(own, border, n))) < 1e-10);
  }
  CHECK(max_diff(m.forward(x, nullptr, &segments, 3), packed) < 1e-10);
  if (!info.causal_form) return;
  for (int64_t cut : {borders[1] - 1, borders[1], borders[0] - 1, borders[0], borders[0] + 1, n - 1}) {
    if (cut == 0) continue;
    MixerState s = m.mixer->make_state(kBatch, n, DType::f64);
    const int64_t next = std::min(cut + 2, n - 1), rest = std::max(next, borders[0] + 1);
    for (const auto& [from, to] : {std::pair{int64_t{0}, cut}, {cut, next}, {next, rest}}) {
      if (from >= to) continue;
      const Tensor documents = segments_of_call(segments, from, to);
      const Tensor y = m.forward(tokens(x, from, to), &s, &documents, from > 0 ? 3 : 0);
      CHECK(max_diff(y, tokens(packed, from, to)) < 1e-10);
    }
    for (int64_t t = rest; t < n; ++t) CHECK(max_diff(m.forward(token(x, t), &s), token(packed, t)) < 1e-10);
    for (int64_t b = 0; b < kBatch; ++b) CHECK(s.seen.data<int64_t>()[b] == n - borders[static_cast<size_t>(b)]);
  }
}

// Two sequences interleaved through one object come out as if alone, also after a state was cloned half-way.
void check_no_hidden_memory(const Built& m, const MixerInfo& info) {
  if (!info.causal_form) return;  // it remembers nothing
  const int64_t n = length(info);
  const Tensor xa = random({kBatch, n, kWidth}, 2), xb = random({kBatch, n, kWidth}, 5), ya = m.forward(xa),
               yb = m.forward(xb);
  MixerState a = m.mixer->make_state(kBatch, n, DType::f64), b = a.clone();
  for (int64_t t = 0; t < n; ++t) {
    CHECK(max_diff(m.forward(token(xa, t), &a), token(ya, t)) < 1e-10);
    CHECK(max_diff(m.forward(token(xb, t), &b), token(yb, t)) < 1e-10);
    if (t == n / 2) a = a.clone();
  }
}

// Wiping a declared field changes what follows, and of one that does not grow with the tokens every number is used: the
// size of the state is not overstated.
void check_no_idle_memory(const Built& m, const MixerInfo& info) {
  const int64_t n = length(info), cut = n / 2;
  const Tensor x = random({kBatch, n, kWidth}, 2), whole = m.forward(x);
  for (const StateField& field : m.mixer->state_spec(n).fields) {
    if (field.growth != Growth::per_token) {
      MixerState s = m.mixer->make_state(kBatch, n, DType::f64);
      const Tensor used = Tensor::zeros(s.field(field.name).shape(), DType::f64);
      for (int64_t t = 0; t < n; ++t) {
        m.forward(tokens(x, t, t + 1), &s);
        for (int64_t r = 0; r < used.rows(); ++r)
          for (int64_t c = 0; c < used.cols(); ++c)
            put(used, r, c, at(used, r, c) + std::abs(at(s.field(field.name), r, c)));
      }
      double least = used.numel() > 0 ? at(used, 0, 0) : 1;
      for (int64_t r = 0; r < used.rows(); ++r)
        for (int64_t c = 0; c < used.cols(); ++c) least = std::min(least, at(used, r, c));
      INFO(field.name);
      CHECK(least > 0);
    }
    MixerState s = m.mixer->make_state(kBatch, n, DType::f64);
    m.forward(tokens(x, 0, cut), &s);
    s.field(field.name) = Tensor::zeros(s.field(field.name).shape(), DType::f64);
    CHECK(max_diff(m.forward(tokens(x, cut, n), &s), tokens(whole, cut, n)) > 1e-9);
  }
}

void check_meta(const Built& m, const MixerInfo& info, const ConfigNode& node) {
  const int64_t n = length(info);
  const auto kept = [&](const Built& built, const Tensor& x) {
    Tape tape;
    const Tape::Recording recording(tape);
    Meter meter;
    const Tensor y = built.forward(tape.leaf(x));
    CHECK(y.shape() == Shape{kBatch, n, kWidth});
    CHECK(meter.total.forward_flops > 0);
    return std::pair{tape.kept_bytes(), meter.total.forward_flops};
  };
  const auto real = kept(m, random({kBatch, n, kWidth}, 2));
  const MetaMode meta;
  Built shapes(info, node, kWidth, DType::f64);
  shapes.store.as_meta(DType::f64);
  const auto counted = kept(shapes, Tensor::empty({kBatch, n, kWidth}, DType::f64));
  CHECK(counted.first == real.first);
  CHECK(counted.second == real.second);
}

// As in a worker, which runs its shards alone: of several threads in one op, which takes a part is chance.
void check_warm(const Built& m, const MixerInfo& info) {
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

void check_config(const MixerInfo& info, const ConfigNode& node) {
  const auto options = info.options();
  read(*options, node, info.name);
  const ConfigNode full = write(*options);
  const auto again = info.options();
  read(*again, full, info.name);
  CHECK(to_yaml(write(*again)) == to_yaml(full));
  const auto fields = describe(*options);
  if (fields.empty()) return;
  ConfigNode wrong = full;
  wrong.set(fields[0].name + "x", "1");
  const auto third = info.options();
  CHECK_THROWS_WITH_AS(read(*third, wrong, info.name), doctest::Contains(fields[0].name.c_str()), ConfigError);
}

void check_f32(const Built& m, const MixerInfo& info, const ConfigNode& node) {
  Built f(info, node, kWidth, DType::f32);
  f.shake(0.3);
  const Tensor x = random({kBatch, length(info), kWidth}, 2), y = m.forward(x);
  CHECK(max_diff(to_dtype(f.forward(to_dtype(x, DType::f32)), DType::f64), y) < 1e-4 * std::max(1.0, max_abs(y)));
  const std::vector<Tensor> exact = train_pass(m, x), rough = train_pass(f, to_dtype(x, DType::f32));
  for (size_t i = 0; i < exact.size(); ++i)
    CHECK(max_diff(to_dtype(rough[i], DType::f64), exact[i]) < 1e-4 * std::max(1.0, max_abs(exact[i])));
  check_splits(f, info, length(info), kWidth, 1e-4 * std::max(1.0, max_abs(y)));
}

void check_threads(const Built& m, const MixerInfo& info) {
  const int before = threads();
  const Tensor x = random({3, length(info), kWidth}, 2);
  set_threads(1);
  const std::vector<Tensor> one = train_pass(m, x);
  const Tensor y = m.forward(x);
  for (int n : {2, 3}) {
    set_threads(n);
    CHECK(same_bits(m.forward(x), y));
    const std::vector<Tensor> several = train_pass(m, x);
    for (size_t i = 0; i < one.size(); ++i) CHECK(same_bits(several[i], one[i]));
  }
  set_threads(before);
}

// Plain gradient descent on one batch towards random targets: the error halves within 30 steps.
void check_learns(const MixerInfo& info, const ConfigNode& node) {
  Built m(info, node, kWidth, DType::f64, 11);
  const int64_t n = length(info);
  const Tensor x = random({kBatch, n, kWidth}, 2), target = m.forward(x).clone();
  m.shake(0.2);
  Slab slab(m.store.slab_elements(), DType::f64), mean(m.store.slab_elements(), DType::f64),
      square(m.store.slab_elements(), DType::f64);
  double first = 0, last = 0;
  for (int step = 0; step <= 30; ++step) {
    ParamGrads grads = m.store.gradients(slab);
    ParamGrads::current = &grads;
    Tape tape;
    Tensor seed;
    {
      const Tape::Recording recording(tape);
      const Tensor y = m.forward(x, nullptr, nullptr, 0, Phase::train);
      seed = Tensor::empty(y.shape(), DType::f64);
      last = 0;
      for (int64_t r = 0; r < y.rows(); ++r)
        for (int64_t c = 0; c < y.cols(); ++c) {
          const double d = at(y, r, c) - at(target, r, c);
          put(seed, r, c, 2 * d);
          last += d * d;
        }
      if (step == 0) first = last;
      tape.backward(y, seed);
    }
    ParamGrads::current = nullptr;
    grads.zero_unwritten();
    for (int64_t i = 0; i < slab.elements(); ++i) {  // Adam
      double &g = slab.data<double>()[i], &a = mean.data<double>()[i], &b = square.data<double>()[i];
      a = 0.9 * a + 0.1 * g;
      b = 0.99 * b + 0.01 * g * g;
      const double t = step + 1;
      m.store.values().data<double>()[i] -=
          0.03 * (a / (1 - std::pow(0.9, t))) / (std::sqrt(b / (1 - std::pow(0.99, t))) + 1e-8);
    }
  }
  CHECK(last < first / 2);
}

}  // namespace

void check_contract(const MixerInfo& info) {
  const Poison poison;
  std::vector<std::string> sets = {std::string(info.tiny)};
  for (std::string_view v : info.variants) sets.emplace_back(v);
  const ConfigNode tiny = parse_config(info.tiny, "tiny");
  for (size_t i = 0; i < sets.size(); ++i) {
    const ConfigNode node = i ? merge(tiny, parse_config(sets[i], "variant")) : tiny;
    INFO(std::string(info.name), " ", sets[i]);
    Built m(info, node, kWidth, DType::f64);
    m.shake(0.3);
    for (bool packed : {false, true}) {
      check_gradients(m, info, Phase::train, false, packed);
      if (!info.causal_form) continue;
      for (Phase phase : {Phase::train, Phase::infer}) check_gradients(m, info, phase, true, packed);
    }
    check_splits(m, info, length(info), kWidth, 1e-10);
    check_chunks(m, info);
    check_causality(m, info);
    check_batch(m, info);
    check_documents(m, info);
    check_no_hidden_memory(m, info);
    check_no_idle_memory(m, info);
    check_meta(m, info, node);
    check_warm(m, info);
    check_config(info, node);
    check_f32(m, info, node);
    check_threads(m, info);
    check_learns(info, node);
  }
  const Built defaults(info, ConfigNode::map(), 64, DType::f64);
  INFO(std::string(info.name), " at its defaults");
  check_splits(defaults, info, 2 * info.period + 3, 64, 1e-10);
  check_gradients(defaults, info, Phase::train, false, false, 64);
}

}  // namespace effllm::test
