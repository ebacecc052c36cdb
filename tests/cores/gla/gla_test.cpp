// What gla alone has; what it shares with delta is in common/memories_test.cpp.
#include "cores/gla/gla.h"

#include "cores/common/memories.h"
#include "cores/common/reference.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("gla: a constant decay a head is that decay at every token") {
  const Memory memory{"", false, {.heads = 2, .decay = Decay::scalar}};
  const Tensors in = memory.inputs(4, 6);
  const Tensor constant = log_decays({2}, 9), documents = memory_documents();
  for (int64_t r = 0; r < in[kLogDecay].rows(); ++r)
    for (int64_t h = 0; h < 2; ++h) put(in[kLogDecay], r, h, at(constant, 0, h));
  const auto f = [&](const Tensors& x) { return memory.run({x[0], x[1], x[2], {}, constant, x[3]}, documents); };
  const Tensors x = {in[0], in[1], in[2], in[kState0]}, got = f(x);
  expect_same_bits(got, memory.run(in, documents));
  CHECK(max_diff(reference_gla(x[0], x[1], x[2], constant, x[3], documents, memory.options).o, got[0]) < 1e-13);
  CHECK(gradient_error(f, x) < 1e-7);
  Tape tape;  // it has no gradient
  CHECK_THROWS_AS(gla(x[0], x[1], x[2], tape.leaf(constant), {}, {}, memory.options), ShapeError);
}

TEST_CASE("gla: refuses decays and heads of keys that don't fit") {
  const GlaOptions options{.heads = 2, .decay = Decay::scalar};
  const Tensor q = random({2, 13, 8}, 1), v = random({2, 13, 12}, 2), decay = log_decays({2, 13, 2}, 3);
  CHECK_THROWS_WITH_AS(gla(q, q, v, q, {}, {}, options), doctest::Contains("it should be [2, 13, 2]"), ShapeError);
  CHECK_THROWS_AS(gla(q, q, v, decay, {}, {}, {.heads = 2, .decay = Decay::scalar, .key_heads = 4}), ShapeError);
}
