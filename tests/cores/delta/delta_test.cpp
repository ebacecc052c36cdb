#include "cores/delta/delta.h"

#include <limits>
#include <tuple>

#include "autodiff/meter.h"
#include "cores/delta/reference_delta.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kTokens = 13;

Tensor documents() {
  return integers({2, kTokens}, {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
}

// Keys of length one per head, beta in (0, 2), log decays -|normal| / 2.
struct Inputs {
  Tensor q, k, v, beta, log_decay, state0;
  DeltaOptions options{.heads = 2};

  Inputs(bool decays, int64_t dk, int64_t dv, int64_t steps = kTokens, int64_t batch = 2, int64_t heads = 2) {
    options.heads = heads;
    q = random({batch, steps, heads * dk}, 1);
    k = random({batch, steps, heads * dk}, 2);
    for (int64_t r = 0; r < k.rows(); ++r)
      for (int64_t h = 0; h < heads; ++h) {
        double square = 0;
        for (int64_t i = 0; i < dk; ++i) square += at(k, r, h * dk + i) * at(k, r, h * dk + i);
        for (int64_t i = 0; i < dk; ++i) put(k, r, h * dk + i, at(k, r, h * dk + i) / std::sqrt(square));
      }
    v = random({batch, steps, heads * dv}, 3);
    beta = mapped(random({batch, steps, heads}, 4), [](double x) { return 2 / (1 + std::exp(-x)); });
    if (decays) log_decay = mapped(random({batch, steps, heads}, 5), [](double x) { return -0.5 * std::abs(x); });
    state0 = random({batch, heads, dk, dv}, 6);
  }
  Tensors list() const { return {q, k, v, beta, log_decay, state0}; }
  DeltaResult run(int64_t from, int64_t to, const Tensor& state) const {
    const auto cut = [&](const Tensor& x) { return tokens(x, from, to); };
    return delta(cut(q), cut(k), cut(v), cut(beta), cut(log_decay), state, {}, options);
  }
  DeltaResult reference(const Tensor& segments = {}) const {
    return reference_delta(q, k, v, beta, log_decay, state0, segments, options);
  }
  Inputs single() const {
    Inputs f32 = *this;
    const Tensors x = inputs_as(list(), DType::f32);
    f32.q = x[0], f32.k = x[1], f32.v = x[2], f32.beta = x[3], f32.log_decay = x[4], f32.state0 = x[5];
    return f32;
  }
};

Function both_results(const DeltaOptions& options, const Tensor& segments = {}) {
  return [=](const Tensors& x) {
    const DeltaResult r = delta(x[0], x[1], x[2], x[3], x[4], x[5], segments, options);
    return std::vector{r.o, r.state};
  };
}

// Outputs and gradients.
Tensors everything(const Inputs& in, const Tensor& segments = {}) {
  return outputs_and_gradients(both_results(in.options, segments), in.list());
}

}  // namespace

TEST_CASE("delta: the whole, any split and single steps are the reference loop") {
  const Poison poison;
  for (bool decays : {false, true})
    for (const auto& [dk, dv] : {std::tuple{3, 5}, {16, 24}, {70, 65}, {1, 33}, {9, 8}}) {
      CAPTURE(decays);
      CAPTURE(dk);
      const Inputs in(decays, dk, dv);
      const DeltaResult whole = in.run(0, kTokens, in.state0), reference = in.reference();
      const double scale = 1 + max_abs(reference.o);
      CHECK(max_diff(whole.o, reference.o) < 1e-13 * scale);
      CHECK(max_diff(whole.state, reference.state) < 1e-13 * scale);
      CHECK(whole.state.is_dense());
      const auto part = [&](int64_t from, int64_t to, const Tensors& state) {
        const DeltaResult r = in.run(from, to, state[0]);
        return Tensors{r.o, r.state};
      };
      expect_same_in_parts(part, {in.state0}, kTokens, 1e-13);
      const Tensor zero = Tensor::zeros(in.state0.shape(), DType::f64);
      CHECK(same_bits(in.run(0, kTokens, {}).o, in.run(0, kTokens, zero).o));
    }
}

TEST_CASE("delta: no token's bits depend on later ones") {
  for (bool decays : {false, true})
    for (const auto& [dk, dv] : {std::tuple{3, 5}, {32, 64}, {64, 130}}) {
      Inputs in(decays, dk, dv, 40);
      if (decays)
        for (int64_t r = 3; r < in.log_decay.rows(); r += 7) put(in.log_decay, r, 0, r % 2 ? -50 : -400);
      for (const Inputs& x : {in, in.single()}) {
        const DeltaResult whole = x.run(0, 40, x.state0);
        for (int64_t n = 1; n < 40; ++n) CHECK(same_bits(x.run(0, n, x.state0).o, tokens(whole.o, 0, n)));
      }
    }
}

TEST_CASE("delta: gradients through the initial and the final state, with documents and without") {
  const Poison poison;
  for (bool decays : {false, true})
    for (const Tensor& segments : {Tensor(), documents()})
      for (int64_t chunk : {0, 4}) {
        CAPTURE(decays);
        CAPTURE(segments.defined());
        CAPTURE(chunk);
        Inputs in(decays, 2, 3);
        in.options.chunk = chunk;
        expect_gradients(both_results(in.options, segments), in.list());
        auto no_state = in.list();
        no_state[5] = Tensor();
        CHECK(gradient_error(both_results(in.options, segments), no_state) < 1e-7);
      }
}

TEST_CASE("delta: gradients where one tensor is in several places") {
  const Poison poison;
  for (bool decays : {false, true}) {
    CAPTURE(decays);
    const Inputs in(decays, 2, 2);
    const auto shared = [&](const Tensors& x) {
      return both_results(in.options)({x[0], x[0], x[0], x[1], decays ? x[1] : Tensor(), x[2]});
    };
    const Tensor gate = mapped(random(in.beta.shape(), 7), [](double x) { return -0.3 * std::abs(x); });
    CHECK(gradient_error(shared, {in.k, gate, in.state0}) < 1e-7);
  }
}

TEST_CASE("delta: a gradient over many anchors is right, f64") {
  for (bool decays : {false, true}) {
    const Inputs in(decays, 2, 3, 150, 1, 1);
    CHECK(gradient_error(both_results(in.options), in.list()) < 1e-7);
  }
}

TEST_CASE("delta: packed documents are each alone, gradients too") {
  for (bool decays : {false, true}) {
    const Inputs in(decays, 4, 6);
    const Tensors packed = everything(in, documents());
    const DeltaResult reference = in.reference(documents());
    CHECK(max_diff(packed[0], reference.o) < 1e-13);
    CHECK(max_diff(packed[1], reference.state) < 1e-13);
    // The last document of row 0 is tokens 8 .. 12; alone it starts from nothing.
    const auto row0 = [](const Tensor& t) {
      return t.defined() ? tokens(t, 8, 13).row_range(0, {1, 5, t.cols()}).clone() : t;
    };
    Tape tape;
    const Tape::Recording recording(tape);
    Tensors x;
    for (const Tensor& t : {in.q, in.k, in.v, in.beta, in.log_decay}) x.push_back(t.defined() ? tape.leaf(row0(t)) : t);
    const DeltaResult alone = delta(x[0], x[1], x[2], x[3], x[4], {}, {}, in.options);
    const Tape::Seed seeds[] = {
        {alone.o, row0(random(in.v.shape(), 100))},
        {alone.state, random(in.state0.shape(), 101).row_range(0, alone.state.shape()).clone()}};
    tape.backward(seeds);
    CHECK(max_diff(row0(packed[0]), alone.o) < 1e-13);
    for (size_t i = 0; i < 5; ++i)
      if (x[i].defined()) CHECK(max_diff(row0(packed[2 + i]), tape.grad(x[i])) < 1e-13);
    // At a start nothing is there to decay: its gradient is zero, not rounding.
    if (decays)
      for (int64_t row : {3, 7, 8, 13, 21})
        for (int64_t c = 0; c < 2; ++c) CHECK(at(packed[6], row, c) == 0);
    // Row 1 begins with a start: nothing reaches its initial state.
    const Tensor d_state0 = packed.back();
    CHECK(max_abs(d_state0.row_range(8, {1, 2, 4, 6})) == 0);
    CHECK(max_abs(d_state0.row_range(0, {1, 2, 4, 6})) > 0);
  }
}

TEST_CASE("delta: the chunk changes nothing beyond rounding") {
  for (bool decays : {false, true}) {
    Inputs in(decays, 5, 6, 70);
    const Tensors usual = everything(in);
    for (int64_t chunk : {1, 3, 16, 100}) {
      in.options.chunk = chunk;
      expect_near(everything(in), usual, 1e-12);
    }
  }
}

TEST_CASE("delta: log decays of 0, -40, -1e4 and -infinity neither overflow nor blur") {
  Inputs in(true, 4, 6, 30);
  const double kinds[] = {0, -40, -1e4, -0.1, -std::numeric_limits<double>::infinity(), 0, 0, -5};
  for (int64_t r = 0; r < in.log_decay.rows(); ++r)
    for (int64_t c = 0; c < in.log_decay.cols(); ++c) put(in.log_decay, r, c, kinds[(r * 5 + c * 3) % 8]);
  const Tensors all = everything(in);
  const DeltaResult reference = in.reference();
  CHECK(max_diff(all[0], reference.o) < 1e-13 * (1 + max_abs(reference.o)));
  for (const Tensor& t : all) CHECK(max_diff(t, t) == 0);  // no NaN
  // Finite ones of the same kinds against differences of the loss.
  for (int64_t r = 0; r < in.log_decay.rows(); ++r)
    for (int64_t c = 0; c < in.log_decay.cols(); ++c)
      if (std::isinf(at(in.log_decay, r, c))) put(in.log_decay, r, c, -1e4);
  CHECK(gradient_error(both_results(in.options), in.list()) < 1e-7);
  const Inputs f32 = in.single();
  CHECK(max_diff(f32.run(0, 30, f32.state0).o, reference.o) < 1e-5 * (1 + max_abs(reference.o)));
}

TEST_CASE("delta: steady strong decays stay exact over many tokens, f32") {
  for (double decay : {-0.001, -1.0, -5.0, -12.0, -30.0}) {
    CAPTURE(decay);
    Inputs in(true, 16, 32, 300, 1);
    in.log_decay = mapped(in.log_decay, [&](double) { return decay; });
    expect_near(everything(in.single()), everything(in), 3e-5);
  }
}

TEST_CASE("delta: f32 is near f64, forward and backward") {
  for (bool decays : {false, true}) {
    const Inputs in(decays, 32, 48, 200, 1);
    expect_near(everything(in.single()), everything(in), 1e-4);
  }
}

TEST_CASE("delta: the same bits for any number of threads") {
  for (bool decays : {false, true}) {
    const Inputs in(decays, 16, 64, 90);
    expect_same_bits_on_threads(both_results(in.options), in.list());
  }
}

TEST_CASE("delta: keeps its inputs and errors, states its cost, works on padded states and on shapes alone") {
  const Inputs in(true, 4, 64);  // rows of 512 bytes: a state of its own would be padded
  CHECK_FALSE(in.state0.is_dense());
  CHECK(in.run(0, kTokens, in.state0).state.is_dense());
  {
    Tape tape;
    const Tape::Recording recording(tape);
    const DeltaResult r = delta(tape.leaf(in.q), in.k, in.v, in.beta, in.log_decay, in.state0, {}, in.options);
    size_t bytes = in.v.buffer()->bytes;  // of e
    for (const Tensor& t : in.list()) bytes += t.buffer()->bytes;
    CHECK(tape.kept_bytes() == bytes);
  }
  Meter meter;
  const MetaMode meta;
  const auto shape = [](const Tensor& t) { return Tensor::empty(t.shape(), DType::f32); };
  delta(shape(in.q), shape(in.k), shape(in.v), shape(in.beta), shape(in.log_decay), {}, {}, in.options);
  CHECK(meter.total.forward_flops == 6.0 * 4 * 64 * 2 * 2 * kTokens);
  CHECK(meter.total.backward_flops == 3 * meter.total.forward_flops);
}

TEST_CASE("delta: refuses shapes and options that don't fit") {
  const Inputs in(true, 4, 6);
  const auto call = [&](const Tensors& x, const DeltaOptions& o) { delta(x[0], x[1], x[2], x[3], x[4], x[5], {}, o); };
  const auto with = [&](size_t i, const Tensor& t) {
    auto x = in.list();
    x[i] = t;
    return x;
  };
  CHECK_THROWS_WITH_AS(call(with(1, random({2, kTokens, 6}, 1)), in.options), doctest::Contains("k[2, 13, 6]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS(call(with(3, random({2, kTokens, 8}, 1)), in.options),
                       doctest::Contains("it should be [2, 13, 2]"), ShapeError);
  CHECK_THROWS_AS(call(with(3, Tensor()), in.options), ShapeError);
  CHECK_THROWS_AS(call(with(4, random({2, kTokens, 8}, 1)), in.options), ShapeError);
  CHECK_THROWS_AS(call(with(5, random({2, 2, 6, 4}, 1)), in.options), ShapeError);
  CHECK_THROWS_AS(call(with(2, to_dtype(in.v, DType::f32)), in.options), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 3}), ShapeError);
  CHECK_THROWS_AS(delta(in.q, in.k, in.v, in.beta, in.log_decay, {}, random({2, kTokens}, 1), in.options), ShapeError);
}
