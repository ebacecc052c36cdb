#include "recurrence/gla.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "autodiff/meter.h"
#include "kernels/parallel.h"
#include "recurrence/reference.h"
#include "support/tensors.h"

using namespace effllm;
using test::max_diff;
using test::random;
using test::same_bits;
using test::tokens;

namespace {

constexpr int64_t kTokens = 13;

Tensor documents() {
  const int64_t numbers[] = {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2};
  const Tensor t = Tensor::dense({2, kTokens}, DType::i64);
  std::copy(std::begin(numbers), std::end(numbers), t.data<int64_t>());
  return t;
}

// Log decays: -|normal| * scale.
Tensor log_decays(const Shape& s, uint64_t seed, double scale = 0.5) {
  const Tensor x = random(s, seed, DType::f64, scale);
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c) test::put(x, r, c, -std::abs(test::at(x, r, c)));
  return x;
}

struct Inputs {
  Tensor q, k, v, log_decay, state0;
  GlaOptions options;

  Inputs(GlaOptions o, int64_t dk, int64_t dv, int64_t steps = kTokens, int64_t batch = 2) : options(o) {
    const int64_t h = o.heads, key_heads = o.key_heads > 0 ? o.key_heads : h;
    q = random({batch, steps, key_heads * dk}, 1);
    k = random({batch, steps, key_heads * dk}, 2);
    v = random({batch, steps, h * dv}, 3);
    const int64_t channels = o.decay == Decay::key ? dk : 1;
    if (o.decay != Decay::none) log_decay = log_decays({batch, steps, h * channels}, 4);
    state0 = random({batch, h, dk, dv}, 5);
  }
  std::vector<Tensor> list() const { return {q, k, v, log_decay, state0}; }
  GlaResult run(int64_t from, int64_t to, const Tensor& state) const {
    const auto cut = [&](const Tensor& x) { return x.defined() ? tokens(x, from, to) : x; };
    return gla(cut(q), cut(k), cut(v), cut(log_decay), state, {}, options);
  }
};

std::vector<GlaOptions> all_options() {
  std::vector<GlaOptions> all;
  for (Decay decay : {Decay::none, Decay::scalar, Decay::key})
    for (bool exclusive : {false, true}) {
      all.push_back({.heads = 2, .decay = decay, .exclusive = exclusive});
      all.push_back({.heads = 4, .decay = decay, .exclusive = exclusive, .key_heads = 2});
    }
  return all;
}

test::Function both_results(const GlaOptions& options, const Tensor& segments = {}) {
  return [=](const std::vector<Tensor>& x) {
    const GlaResult r = gla(x[0], x[1], x[2], x[3], x[4], segments, options);
    return std::vector{r.o, r.state};
  };
}

// Outputs and gradients of q, k, v, log_decay, state0 for fixed random gradients of both results.
std::vector<Tensor> everything(const Inputs& in, const Tensor& segments, const GlaOptions& options) {
  Tape tape;
  const Tape::Recording recording(tape);
  std::vector<Tensor> x;
  for (const Tensor& t : in.list()) x.push_back(t.defined() ? tape.leaf(t) : t);
  const GlaResult r = gla(x[0], x[1], x[2], x[3], x[4], segments, options);
  const DType type = in.q.dtype();
  const Tape::Seed seeds[] = {{r.o, random(r.o.shape(), 11, type)}, {r.state, random(r.state.shape(), 12, type)}};
  tape.backward(seeds);
  std::vector<Tensor> all{r.o, r.state};
  for (const Tensor& t : x)
    if (t.defined()) all.push_back(tape.grad(t));
  return all;
}

}  // namespace

TEST_CASE("gla: the whole, any split and single steps are the reference loop") {
  const test::Poison poison;
  for (const GlaOptions& options : all_options())
    for (const auto& [dk, dv] : {std::tuple{3, 5}, {16, 24}, {70, 65}}) {
      CAPTURE(static_cast<int>(options.decay));
      CAPTURE(options.exclusive);
      CAPTURE(dk);
      const Inputs in(options, dk, dv);
      const GlaResult whole = in.run(0, kTokens, in.state0);
      const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, {}, options);
      const double scale = 1 + test::max_abs(reference.o);
      CHECK(max_diff(whole.o, reference.o) < 1e-13 * scale);
      CHECK(max_diff(whole.state, reference.state) < 1e-13 * scale);
      CHECK(whole.state.is_dense());
      for (int64_t cut = 1; cut < kTokens; ++cut) {
        const GlaResult first = in.run(0, cut, in.state0), second = in.run(cut, kTokens, first.state);
        CHECK(max_diff(first.o, tokens(whole.o, 0, cut)) < 1e-13 * scale);
        CHECK(max_diff(second.o, tokens(whole.o, cut, kTokens)) < 1e-13 * scale);
        CHECK(max_diff(second.state, whole.state) < 1e-13 * scale);
      }
      Tensor state = in.state0;
      for (int64_t t = 0; t < kTokens; ++t) {
        const GlaResult one = in.run(t, t + 1, state);
        CHECK(max_diff(one.o, tokens(whole.o, t, t + 1)) < 1e-13 * scale);
        state = one.state;
      }
      CHECK(max_diff(state, whole.state) < 1e-13 * scale);
      const Tensor zero = Tensor::zeros(in.state0.shape(), DType::f64);
      CHECK(same_bits(in.run(0, kTokens, {}).o, in.run(0, kTokens, zero).o));
    }
}

TEST_CASE("gla: gradients through the initial and the final state, with documents and without") {
  const test::Poison poison;
  for (GlaOptions options : all_options())
    for (const Tensor& segments : {Tensor(), documents()})
      for (int64_t chunk : {0, 4}) {
        CAPTURE(static_cast<int>(options.decay));
        CAPTURE(options.exclusive);
        CAPTURE(segments.defined());
        CAPTURE(chunk);
        options.chunk = chunk;
        const Inputs in(options, 2, 3);
        CHECK(test::gradient_error(both_results(options, segments), in.list()) < 1e-7);
        if (chunk > 0) continue;
        auto no_state = in.list();
        no_state[4] = Tensor();
        CHECK(test::gradient_error(both_results(options, segments), no_state) < 1e-7);
      }
}

TEST_CASE("gla: gradients where one result alone, or one input alone, is of interest") {
  const test::Poison poison;
  for (const GlaOptions& options : all_options()) {
    CAPTURE(static_cast<int>(options.decay));
    CAPTURE(options.exclusive);
    const Inputs in(options, 2, 2);
    for (int result : {0, 1}) {
      const auto one_result = [&](const std::vector<Tensor>& x) {
        const GlaResult r = gla(x[0], x[1], x[2], x[3], x[4], documents(), options);
        return std::vector{result == 0 ? r.o : r.state};
      };
      CHECK(test::gradient_error(one_result, in.list()) < 1e-7);
    }
    const std::vector<Tensor> all = in.list();
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].defined()) continue;
      const auto one_input = [&](const std::vector<Tensor>& x) {
        auto y = all;
        y[i] = x[0];
        return both_results(options)(y);
      };
      CHECK(test::gradient_error(one_input, {all[i]}) < 1e-7);
    }
    if (options.key_heads > 0) continue;
    // One tensor in three places: gradients add up.
    const auto shared = [&](const std::vector<Tensor>& x) {
      return both_results(options)({x[0], x[0], x[0], x[1], x[2]});
    };
    CHECK(test::gradient_error(shared, {in.q, in.log_decay, in.state0}) < 1e-7);
  }
}

TEST_CASE("gla: a gradient over many anchors is right, f64") {
  for (GlaOptions options : all_options()) {
    if (options.key_heads > 0) options.key_heads = 1;
    options.heads = options.key_heads + 1;
    const Inputs in(options, 2, 3, 150, 1);
    CHECK(test::gradient_error(both_results(options), in.list()) < 1e-7);
  }
}

TEST_CASE("gla: packed documents are each alone, gradients too") {
  for (const GlaOptions& options : all_options()) {
    CAPTURE(static_cast<int>(options.decay));
    CAPTURE(options.exclusive);
    const Inputs in(options, 4, 6);
    const std::vector<Tensor> packed = everything(in, documents(), options);
    const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, documents(), options);
    CHECK(max_diff(packed[0], reference.o) < 1e-13);
    CHECK(max_diff(packed[1], reference.state) < 1e-13);
    // The last document of row 0 is tokens 8 .. 12; alone it starts from nothing.
    Tape tape;
    const Tape::Recording recording(tape);
    const auto cut = [&](const Tensor& x) {
      return x.defined() ? tape.leaf(tokens(x, 8, 13).row_range(0, {1, 5, x.cols()}).clone()) : x;
    };
    const Tensor x[] = {cut(in.q), cut(in.k), cut(in.v), cut(in.log_decay)};
    const GlaResult alone = gla(x[0], x[1], x[2], x[3], {}, {}, options);
    const Tensor d_o = random({2, kTokens, in.v.cols()}, 11), d_state = random(in.state0.shape(), 12);
    const Tape::Seed seeds[] = {{alone.o, tokens(d_o, 8, 13).row_range(0, alone.o.shape()).clone()},
                                {alone.state, d_state.row_range(0, alone.state.shape()).clone()}};
    tape.backward(seeds);
    const auto row0 = [](const Tensor& t) { return tokens(t, 8, 13).row_range(0, {1, 5, t.cols()}); };
    CHECK(max_diff(row0(packed[0]), alone.o) < 1e-13);
    for (size_t i = 0; i < 4; ++i)
      if (x[i].defined()) CHECK(max_diff(row0(packed[2 + i]), tape.grad(x[i])) < 1e-13);
    // At a start nothing is there to decay: its gradient is zero, not rounding.
    if (options.decay != Decay::none)
      for (int64_t row : {3, 7, 8, 13, 21})
        for (int64_t c = 0; c < in.log_decay.cols(); ++c) CHECK(test::at(packed[5], row, c) == 0);
    // Row 1 begins with a start: nothing reaches its initial state.
    const Tensor d_state0 = packed.back();
    const int64_t h = options.heads;
    CHECK(test::max_abs(d_state0.row_range(h * 4, {1, h, 4, 6})) == 0);
    CHECK(test::max_abs(d_state0.row_range(0, {1, h, 4, 6})) > 0);
  }
}

TEST_CASE("gla: the chunk changes nothing beyond rounding") {
  for (GlaOptions options : all_options()) {
    const Inputs in(options, 5, 6, 70);
    const std::vector<Tensor> usual = everything(in, {}, options);
    for (int64_t chunk : {1, 3, 16, 100}) {
      options.chunk = chunk;
      const std::vector<Tensor> other = everything(in, {}, options);
      for (size_t i = 0; i < usual.size(); ++i)
        CHECK(max_diff(usual[i], other[i]) < 1e-12 * (1 + test::max_abs(usual[i])));
    }
  }
}

TEST_CASE("gla: log decays of 0, -40, -1e4 and -infinity neither overflow nor blur") {
  for (GlaOptions options : all_options()) {
    if (options.decay == Decay::none) continue;
    CAPTURE(static_cast<int>(options.decay));
    CAPTURE(options.exclusive);
    const Inputs in(options, 4, 6, 30);
    const double kinds[] = {0, -40, -1e4, -0.1, -std::numeric_limits<double>::infinity(), 0, 0, -5};
    for (int64_t r = 0; r < in.log_decay.rows(); ++r)
      for (int64_t c = 0; c < in.log_decay.cols(); ++c) test::put(in.log_decay, r, c, kinds[(r * 5 + c * 3) % 8]);
    const std::vector<Tensor> all = everything(in, {}, options);
    const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, {}, options);
    CHECK(max_diff(all[0], reference.o) < 1e-13 * (1 + test::max_abs(reference.o)));
    for (const Tensor& t : all) CHECK(max_diff(t, t) == 0);  // no NaN
    // Finite ones of the same kinds against differences of the loss.
    for (int64_t r = 0; r < in.log_decay.rows(); ++r)
      for (int64_t c = 0; c < in.log_decay.cols(); ++c)
        if (std::isinf(test::at(in.log_decay, r, c))) test::put(in.log_decay, r, c, -1e4);
    CHECK(test::gradient_error(both_results(options), in.list()) < 1e-7);

    Inputs f32 = in;
    for (Tensor* t : {&f32.q, &f32.k, &f32.v, &f32.log_decay, &f32.state0}) *t = test::to_dtype(*t, DType::f32);
    const GlaResult single = gla(f32.q, f32.k, f32.v, f32.log_decay, f32.state0, {}, options);
    CHECK(max_diff(test::to_dtype(single.o, DType::f64), reference.o) < 1e-5 * (1 + test::max_abs(reference.o)));
  }
}

TEST_CASE("gla: f32 is near f64, forward and backward") {
  for (const GlaOptions& options : all_options()) {
    const Inputs in(options, 32, 48, 200, 1);
    Inputs f32 = in;
    for (Tensor* t : {&f32.q, &f32.k, &f32.v, &f32.log_decay, &f32.state0})
      if (t->defined()) *t = test::to_dtype(*t, DType::f32);
    const std::vector<Tensor> want = everything(in, {}, options), got = everything(f32, {}, options);
    for (size_t i = 0; i < want.size(); ++i) {
      CAPTURE(i);
      CHECK(max_diff(test::to_dtype(got[i], DType::f64), want[i]) < 1e-4 * (1 + test::max_abs(want[i])));
    }
  }
}

TEST_CASE("gla: the same bits for any number of threads") {
  const int before = threads();
  for (const GlaOptions& options : all_options()) {
    Inputs in(options, 16, 64, 90);
    for (Tensor* t : {&in.q, &in.k, &in.v, &in.log_decay, &in.state0})
      if (t->defined()) *t = test::to_dtype(*t, DType::f32);
    set_threads(1);
    const std::vector<Tensor> one = everything(in, {}, options);
    for (int n : {2, 3}) {
      set_threads(n);
      const std::vector<Tensor> more = everything(in, {}, options);
      for (size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], more[i]));
    }
  }
  set_threads(before);
}

TEST_CASE("gla: keeps its inputs alone, states its cost, works on padded states and on shapes alone") {
  const GlaOptions options{.heads = 2, .decay = Decay::scalar};
  const Inputs in(options, 4, 64);  // rows of 512 bytes: a state of its own would be padded
  CHECK_FALSE(in.state0.is_dense());
  CHECK(in.run(0, kTokens, in.state0).state.is_dense());
  const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, {}, options);
  CHECK(max_diff(in.run(0, kTokens, in.state0).state, reference.state) < 1e-13 * (1 + test::max_abs(reference.state)));
  {
    Tape tape;
    const Tape::Recording recording(tape);
    const GlaResult r = gla(tape.leaf(in.q), in.k, in.v, in.log_decay, in.state0, {}, options);
    size_t bytes = 0;
    for (const Tensor& t : in.list()) bytes += t.buffer()->bytes;
    CHECK(tape.kept_bytes() == bytes);
  }
  Meter meter;
  const MetaMode meta;
  const auto shape = [](const Tensor& t) { return Tensor::empty(t.shape(), DType::f32); };
  gla(shape(in.q), shape(in.k), shape(in.v), shape(in.log_decay), {}, {}, options);
  CHECK(meter.total.forward_flops == 4.0 * 4 * 64 * 2 * 2 * kTokens);
  CHECK(meter.total.backward_flops == 3 * meter.total.forward_flops);
}

TEST_CASE("gla: refuses shapes and options that don't fit") {
  const GlaOptions options{.heads = 2, .decay = Decay::scalar};
  const Inputs in(options, 4, 6);
  const auto call = [&](const std::vector<Tensor>& x, const GlaOptions& o) {
    gla(x[0], x[1], x[2], x[3], x[4], {}, o);
  };
  const auto with = [&](size_t i, const Tensor& t) {
    auto x = in.list();
    x[i] = t;
    return x;
  };
  CHECK_THROWS_WITH_AS(call(with(1, random({2, kTokens, 6}, 1)), options), doctest::Contains("k[2, 13, 6]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS(call(with(3, random({2, kTokens, 8}, 1)), options), doctest::Contains("it should be [2, 13, 2]"),
                       ShapeError);
  CHECK_THROWS_AS(call(with(3, Tensor()), options), ShapeError);
  CHECK_THROWS_AS(call(with(4, random({2, 2, 6, 4}, 1)), options), ShapeError);
  CHECK_THROWS_AS(call(with(2, test::to_dtype(in.v, DType::f32)), options), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 3}), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 2, .decay = Decay::value}), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 2, .key_heads = 4}), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 2, .decay = Decay::none}), ShapeError);
  CHECK_THROWS_AS(gla(in.q, in.k, in.v, in.log_decay, {}, random({2, kTokens}, 1), options), ShapeError);
}

TEST_CASE("gla: a constant decay a head is that decay at every token") {
  const GlaOptions options{.heads = 2, .decay = Decay::scalar};
  const Inputs in(options, 4, 6);
  const Tensor constant = log_decays({2}, 9);
  Inputs spread = in;
  for (int64_t r = 0; r < in.log_decay.rows(); ++r)
    for (int64_t h = 0; h < 2; ++h) test::put(spread.log_decay, r, h, test::at(constant, 0, h));
  const std::vector<Tensor> want = everything(spread, documents(), options);
  const auto f = [&](const std::vector<Tensor>& x) {
    const GlaResult r = gla(x[0], x[1], x[2], constant, x[3], documents(), options);
    return std::vector{r.o, r.state};
  };
  const std::vector<Tensor> got = f({in.q, in.k, in.v, in.state0});
  CHECK(same_bits(got[0], want[0]));
  CHECK(same_bits(got[1], want[1]));
  CHECK(max_diff(reference_gla(in.q, in.k, in.v, constant, in.state0, documents(), options).o, got[0]) < 1e-13);
  CHECK(test::gradient_error(f, {in.q, in.k, in.v, in.state0}) < 1e-7);
  Tape tape;  // it has no gradient
  CHECK_THROWS_AS(gla(in.q, in.k, in.v, tape.leaf(constant), {}, {}, options), ShapeError);
}
