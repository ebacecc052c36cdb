#include "cores/conv/short_conv.h"

#include "cores/common/reference.h"
#include "ops/arithmetic.h"
#include "ops/op_checks.h"
#include "ops/pointwise.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// One document that goes on and six more; two, the first of which begins with the call.
Tensor documents() {
  return integers({2, 13}, {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 4, 4, 5, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
}

Function conv(const Tensor& segments = {}) {
  return [=](const Tensors& x) {
    const ShortConvResult r = short_conv(x[0], x[1], x[2], segments);
    return std::vector{r.y, r.history};
  };
}

}  // namespace

TEST_CASE("short_conv: the whole, any split and single steps are the reference sum") {
  const Poison poison;
  for (int64_t width : {1, 2, 3, 4, 6}) {
    CAPTURE(width);
    const Tensor x = random({2, 13, 150}, 1), w = random({width, 150}, 2), history = random({2, width - 1, 150}, 3);
    for (const Tensor& segments : {Tensor(), documents()}) {
      const ShortConvResult whole = short_conv(x, w, history, segments);
      const ShortConvResult reference = reference_short_conv(x, w, history, segments);
      CHECK(max_diff(whole.y, reference.y) < 1e-12);
      CHECK(max_diff(whole.history, reference.history) == 0);
      const auto part = [&](int64_t from, int64_t to, const Tensors& before) {
        return conv(segments_of_call(segments, from, to))({tokens(x, from, to), w, before[0]});
      };
      expect_same_in_parts(part, {history}, 13, 4e-14);
    }
    CHECK(max_diff(short_conv(x, w).y, short_conv(x, w, Tensor::zeros(history.shape(), DType::f64)).y) < 1e-12);
  }
}

TEST_CASE("short_conv: gradients of x, weight and history through both results") {
  const Poison poison;
  for (const Tensor& segments : {Tensor(), documents()})
    for (int64_t width : {1, 3, 5}) {
      CAPTURE(width);
      const Tensor x = random({2, 13, 4}, 1), w = random({width, 4}, 2), history = random({2, width - 1, 4}, 3);
      expect_gradients(conv(segments), {x, w, history});
      CHECK(gradient_error(conv(segments), {x, w, Tensor()}) < 1e-7);
    }
  // A call shorter than the filter hands part of the old history on.
  CHECK(gradient_error(conv(), {random({2, 2, 3}, 1), random({5, 3}, 2), random({2, 4, 3}, 3)}) < 1e-7);
}

TEST_CASE("short_conv: the same bits for any number of threads, f32 near f64") {
  const Tensors x = {random({3, 40, 1000}, 1, DType::f32), random({4, 1000}, 2, DType::f32), Tensor()};
  expect_same_bits_on_threads(conv(), x);
  expect_near(conv()(x), conv()(inputs_as(x, DType::f64)), 1e-6);
}

TEST_CASE("short_conv: with bias and silu it equals silu of it, forward and backward, with documents and history") {
  const Tensor x = random({2, 13, 140}, 1), w = random({4, 140}, 2), before = random({2, 3, 140}, 3),
               shift = random({140}, 6);
  for (const Tensor& segments : {Tensor(), documents()}) {
    const auto fused = [&](const Tensors& in) {
      const ShortConvResult r = short_conv(in[0], in[1], in[2], segments, true, in[3]);
      return std::vector{r.y, r.history};
    };
    const auto plain = [&](const Tensors& in) {
      const ShortConvResult r = short_conv(in[0], in[1], in[2], segments);
      return std::vector{silu(affine_columns(r.y, {}, in[3])), r.history};
    };
    const Tensors in = {x, w, before, shift};
    expect_near(outputs_and_gradients(fused, in), outputs_and_gradients(plain, in), 1e-14);
  }
}

TEST_CASE("short_conv: refuses shapes that don't fit") {
  const Tensor x = random({2, 3, 4}, 1), w = random({3, 4}, 2);
  CHECK_THROWS_WITH_AS(short_conv(x, random({3, 5}, 2)), doctest::Contains("weight[3, 5]"), ShapeError);
  CHECK_THROWS_WITH_AS(short_conv(x, w, random({2, 3, 4}, 2)), doctest::Contains("it should be [2, 2, 4]"), ShapeError);
  CHECK_THROWS_AS(short_conv(x, w, {}, random({2, 3}, 1)), ShapeError);
  CHECK_THROWS_AS(short_conv(x, w, {}, {}, false, random({3}, 1)), ShapeError);
  const MetaMode meta;
  CHECK(short_conv(Tensor::empty({2, 3, 4}, DType::f32), Tensor::empty({4, 4}, DType::f32)).history.shape() ==
        Shape{2, 3, 4});
}
