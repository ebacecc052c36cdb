#include "cores/conv/short_conv.h"

#include <doctest/doctest.h>

#include "cores/common/reference.h"
#include "kernels/parallel.h"
#include "ops/arithmetic.h"
#include "ops/pointwise.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Tensor documents() {
  const int64_t numbers[] = {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 4, 4, 5, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2};
  const Tensor t = Tensor::dense({2, 13}, DType::i64);
  std::copy(std::begin(numbers), std::end(numbers), t.data<int64_t>());
  return t;
}

// Columns [from, to) of the document numbers as a call that begins at `from` is given them.
Tensor documents_from(const Tensor& all, int64_t from, int64_t to) {
  const Tensor t = Tensor::dense({2, to - from}, DType::i64);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = from; i < to; ++i)
      t.data<int64_t>()[b * (to - from) + i - from] =
          all.data<int64_t>()[b * 13 + i] - (from > 0 ? all.data<int64_t>()[b * 13 + from - 1] : 0);
  return t;
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
      for (int64_t cut = 1; cut < 13; ++cut) {
        const auto part = [&](int64_t from, int64_t to, const Tensor& before) {
          return short_conv(tokens(x, from, to), w, before,
                            segments.defined() ? documents_from(segments, from, to) : Tensor());
        };
        const ShortConvResult first = part(0, cut, history), second = part(cut, 13, first.history);
        CHECK(max_diff(first.y, tokens(whole.y, 0, cut)) < 1e-12);
        CHECK(max_diff(second.y, tokens(whole.y, cut, 13)) < 1e-12);
        CHECK(max_diff(second.history, whole.history) == 0);
      }
    }
    const ShortConvResult whole = short_conv(x, w, history);
    Tensor running = history;
    for (int64_t t = 0; t < 13; ++t) {
      const ShortConvResult one = short_conv(tokens(x, t, t + 1), w, running);
      CHECK(max_diff(one.y, tokens(whole.y, t, t + 1)) < 1e-12);
      running = one.history;
    }
    CHECK(max_diff(running, whole.history) == 0);
    CHECK(max_diff(short_conv(x, w).y, short_conv(x, w, Tensor::zeros(history.shape(), DType::f64)).y) < 1e-12);
  }
}

TEST_CASE("short_conv: gradients of x, weight and history through both results") {
  const Poison poison;
  for (const Tensor& segments : {Tensor(), documents()})
    for (int64_t width : {1, 3, 5}) {
      CAPTURE(width);
      const auto both = [&](const Tensors& x) {
        const ShortConvResult r = short_conv(x[0], x[1], x[2], segments);
        return std::vector{r.y, r.history};
      };
      const Tensor x = random({2, 13, 4}, 1), w = random({width, 4}, 2), history = random({2, width - 1, 4}, 3);
      CHECK(gradient_error(both, {x, w, history}) < 1e-7);
      CHECK(gradient_error(both, {x, w, Tensor()}) < 1e-7);
      const auto after = [&](const Tensors& in) {
        return std::vector{short_conv(in[0], in[1], in[2], segments).history};
      };
      CHECK(gradient_error(after, {x, w, history}) < 1e-7);
    }
  // A call shorter than the filter hands part of the old history on.
  const auto brief = [](const Tensors& in) {
    const ShortConvResult r = short_conv(in[0], in[1], in[2]);
    return std::vector{r.y, r.history};
  };
  CHECK(gradient_error(brief, {random({2, 2, 3}, 1), random({5, 3}, 2), random({2, 4, 3}, 3)}) < 1e-7);
}

TEST_CASE("short_conv: the same bits for any number of threads, f32 near f64") {
  const Tensor x = random({3, 40, 1000}, 1, DType::f32), w = random({4, 1000}, 2, DType::f32);
  const auto run_with = [&](int n) {
    set_threads(n);
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor a = tape.leaf(x), b = tape.leaf(w);
    const ShortConvResult r = short_conv(a, b);
    tape.backward(r.y, x);
    return std::vector{r.y, r.history, tape.grad(a), tape.grad(b)};
  };
  const int before = threads();
  const auto one = run_with(1);
  for (int n : {2, 3}) {
    const auto more = run_with(n);
    for (size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], more[i]));
  }
  set_threads(before);
  const Tensor y = short_conv(to_dtype(x, DType::f64), to_dtype(w, DType::f64)).y;
  CHECK(max_diff(to_dtype(one[0], DType::f64), y) < 1e-5);
}

TEST_CASE("short_conv: with bias and silu it equals silu of it, forward and backward, with documents and history") {
  const Tensor x = random({2, 13, 140}, 1), w = random({4, 140}, 2), before = random({2, 3, 140}, 3),
               shift = random({140}, 6);
  for (const Tensor& segments : {Tensor(), documents()}) {
    const auto results = [&](bool fused) {
      Tape tape;
      const Tensor in = tape.leaf(x), weight = tape.leaf(w), history = tape.leaf(before), bias = tape.leaf(shift);
      ShortConvResult r;
      {
        const Tape::Recording recording(tape);
        r = short_conv(in, weight, history, segments, fused, fused ? bias : Tensor());
        if (!fused) r.y = silu(affine_columns(r.y, {}, bias));
      }
      const Tape::Seed seeds[] = {{r.y, random({2, 13, 140}, 4)}, {r.history, random({2, 3, 140}, 5)}};
      tape.backward(seeds);
      return std::vector{r.y, r.history, tape.grad(in), tape.grad(weight), tape.grad(history), tape.grad(bias)};
    };
    const auto fused = results(true), plain = results(false);
    for (size_t i = 0; i < plain.size(); ++i) CHECK(max_diff(fused[i], plain[i]) < 1e-12);
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
