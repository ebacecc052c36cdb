#include "cores/conv/shared_filter.h"

#include "cores/common/reference.h"
#include "cores/conv/shift_columns.h"
#include "ops/arithmetic.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Tensor documents() {
  return integers({2, 13}, {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 4, 4, 5, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
}

// x, weight, history, base
Function filter(const Tensor& segments = {}) {
  return [=](const Tensors& x) {
    const SharedFilterResult r = shared_filter(x[0], x[1], x[2], segments, x[3]);
    return std::vector{r.y, r.history};
  };
}

// A filter of its own for every column: what short_conv computes.
Tensor spread(const Tensor& w, int64_t columns) {
  const Tensor wide = Tensor::empty({w.cols(), columns}, DType::f64);
  for (int64_t j = 0; j < w.cols(); ++j)
    for (int64_t c = 0; c < columns; ++c) put(wide, j, c, at(w, c / (columns / w.rows()), j));
  return wide;
}

}  // namespace

TEST_CASE("shared_filter: the whole, any split and single tokens are the convolution with one filter per head") {
  const Poison poison;
  for (int64_t width : {1, 2, 4, 6, 40})
    for (int64_t heads : {1, 2, 6}) {
      CAPTURE(width);
      const int64_t columns = heads == 1 ? 150 : 6 * heads;
      const Tensor x = random({2, 13, columns}, 1), w = random({heads, width}, 2),
                   history = random({2, width - 1, columns}, 3), base = random({2, 13, columns}, 4);
      for (const Tensor& segments : {Tensor(), documents()}) {
        const SharedFilterResult whole = shared_filter(x, w, history, segments);
        const ShortConvResult reference = reference_short_conv(x, spread(w, columns), history, segments);
        CHECK(max_diff(whole.y, reference.y) < 1e-12);
        CHECK(max_diff(whole.history, reference.history) == 0);
        CHECK(max_diff(shared_filter(x, w, history, segments, base).y, add(reference.y, base)) < 1e-12);
        const auto part = [&](int64_t from, int64_t to, const Tensors& before) {
          return filter(segments_of_call(segments, from, to))({tokens(x, from, to), w, before[0], Tensor()});
        };
        expect_same_in_parts(part, {history}, 13, 4e-14);
      }
    }
}

TEST_CASE("shared_filter: gradients of x, weight, history and base through both results") {
  const Poison poison;
  for (const Tensor& segments : {Tensor(), documents()})
    for (int64_t width : {1, 3, 15}) {
      CAPTURE(width);
      const Tensor x = random({2, 13, 4}, 1), w = random({2, width}, 2), history = random({2, width - 1, 4}, 3);
      CHECK(gradient_error(filter(segments), {x, w, history, random({2, 13, 4}, 4)}) < 1e-7);
      CHECK(gradient_error(filter(segments), {x, w, Tensor(), Tensor()}) < 1e-7);
    }
}

TEST_CASE("shared_filter: long rows, the same bits for any number of threads, f32 near f64, nothing from the future") {
  const Tensor x = random({2, 77, 300}, 1, DType::f32), w = random({2, 32}, 2, DType::f32);
  const Tensors in = {x, w, Tensor(), Tensor()}, got = filter()(in);
  expect_same_bits_on_threads(filter(), in);
  CHECK(max_diff(got[0], filter()(inputs_as(in, DType::f64))[0]) < 2e-5);
  for (int64_t t : {0, 30, 33, 75}) {
    Tensor changed = x.clone();
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t r = b * 77 + t + 1; r < (b + 1) * 77; ++r)
        for (int64_t c = 0; c < 300; ++c) put(changed, r, c, std::numeric_limits<double>::quiet_NaN());
    CHECK(same_bits(tokens(shared_filter(changed, w).y, 0, t + 1), tokens(got[0], 0, t + 1)));
  }
}

TEST_CASE("shared_filter: refuses shapes that don't fit") {
  const Tensor x = random({2, 3, 4}, 1), w = random({2, 3}, 2);
  CHECK_THROWS_WITH_AS(shared_filter(x, random({3, 3}, 2)), doctest::Contains("weight[3, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS(shared_filter(x, w, random({2, 3, 4}, 2)), doctest::Contains("it should be [2, 2, 4]"),
                       ShapeError);
  CHECK_THROWS_AS(shared_filter(x, w, {}, {}, random({2, 3, 5}, 2)), ShapeError);
  const MetaMode meta;
  CHECK(shared_filter(Tensor::empty({2, 3, 4}, DType::f32), Tensor::empty({2, 4}, DType::f32)).history.shape() ==
        Shape{2, 3, 4});
}

TEST_CASE("shift_columns: the first columns come a token late, across calls but not across documents") {
  const Poison poison;
  const Tensor x = random({2, 13, 5}, 1), before = random({2, 1, 3}, 2);
  for (const Tensor& segments : {Tensor(), documents()}) {
    const auto [y, last] = shift_columns(x, 3, before, segments);
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t t = 0; t < 13; ++t)
        for (int64_t c = 0; c < 5; ++c) {
          const double want = c >= 3                   ? at(x, b * 13 + t, c)
                              : starts(segments, b, t) ? 0
                              : t > 0                  ? at(x, b * 13 + t - 1, c)
                                                       : at(before, b, c);
          CHECK(at(y, b * 13 + t, c) == want);
        }
    CHECK(at(last, 1, 2) == at(x, 25, 2));
    const auto both = [&](const Tensors& in) {
      const ShiftColumnsResult r = shift_columns(in[0], 3, in[1], segments);
      return std::vector{r.y, r.last};
    };
    CHECK(gradient_error(both, {x, before}) < 1e-7);
    CHECK(gradient_error(both, {x, Tensor()}) < 1e-7);
  }
  CHECK_THROWS_AS(shift_columns(x, 6), ShapeError);
  CHECK_THROWS_WITH_AS(shift_columns(x, 3, random({2, 1, 4}, 1)), doctest::Contains("[2, 1, 3]"), ShapeError);
}
