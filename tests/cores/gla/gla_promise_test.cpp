// What gla promises beside its values: precision, threads, what it keeps and costs, what it refuses.
#include "autodiff/meter.h"
#include "cores/common/reference.h"
#include "cores/gla/gla_inputs.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("gla: f32 is near f64, forward and backward") {
  for (const GlaOptions& options : all_gla_options()) {
    const GlaInputs in(options, 32, 48, 200, 1);
    expect_near(everything(in.as_f32(), {}, options), everything(in, {}, options), 1e-4);
  }
}

TEST_CASE("gla: the same bits for any number of threads") {
  for (const GlaOptions& options : all_gla_options())
    expect_same_bits_on_threads(both_results(options), GlaInputs(options, 16, 64, 90).list());
}

TEST_CASE("gla: keeps its inputs alone, states its cost, works on padded states and on shapes alone") {
  const GlaOptions options{.heads = 2, .decay = Decay::scalar};
  const GlaInputs in(options, 4, 64);  // rows of 512 bytes: a state of its own would be padded
  CHECK_FALSE(in.state0.is_dense());
  CHECK(in.run(0, kGlaTokens, in.state0).state.is_dense());
  const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, {}, options);
  CHECK(max_diff(in.run(0, kGlaTokens, in.state0).state, reference.state) < 1e-13 * (1 + max_abs(reference.state)));
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
  CHECK(meter.total.forward_flops == 4.0 * 4 * 64 * 2 * 2 * kGlaTokens);
  CHECK(meter.total.backward_flops == 3 * meter.total.forward_flops);
}

TEST_CASE("gla: refuses shapes and options that don't fit") {
  const GlaOptions options{.heads = 2, .decay = Decay::scalar};
  const GlaInputs in(options, 4, 6);
  const auto call = [&](const Tensors& x, const GlaOptions& o) { gla(x[0], x[1], x[2], x[3], x[4], {}, o); };
  const auto with = [&](size_t i, const Tensor& t) {
    auto x = in.list();
    x[i] = t;
    return x;
  };
  CHECK_THROWS_WITH_AS(call(with(1, random({2, kGlaTokens, 6}, 1)), options), doctest::Contains("k[2, 13, 6]"),
                       ShapeError);
  CHECK_THROWS_WITH_AS(call(with(3, random({2, kGlaTokens, 8}, 1)), options),
                       doctest::Contains("it should be [2, 13, 2]"), ShapeError);
  CHECK_THROWS_AS(call(with(3, Tensor()), options), ShapeError);
  CHECK_THROWS_AS(call(with(4, random({2, 2, 6, 4}, 1)), options), ShapeError);
  CHECK_THROWS_AS(call(with(2, to_dtype(in.v, DType::f32)), options), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 3}), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 2, .decay = Decay::value}), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 2, .key_heads = 4}), ShapeError);
  CHECK_THROWS_AS(call(in.list(), {.heads = 2, .decay = Decay::none}), ShapeError);
  CHECK_THROWS_AS(gla(in.q, in.k, in.v, in.log_decay, {}, random({2, kGlaTokens}, 1), options), ShapeError);
}
