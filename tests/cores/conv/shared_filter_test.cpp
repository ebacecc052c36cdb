#include "cores/conv/shared_filter.h"

#include <doctest/doctest.h>

#include "cores/common/reference.h"
#include "cores/conv/shift_columns.h"
#include "kernels/parallel.h"
#include "ops/arithmetic.h"
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
Tensor documents_from(const Tensor& all, int64_t from, int64_t to) {
  const Tensor t = Tensor::dense({2, to - from}, DType::i64);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = from; i < to; ++i)
      t.data<int64_t>()[b * (to - from) + i - from] =
          all.data<int64_t>()[b * 13 + i] - (from > 0 ? all.data<int64_t>()[b * 13 + from - 1] : 0);
  return t;
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
        for (int64_t cut = 1; cut < 13; ++cut) {
          const auto part = [&](int64_t from, int64_t to, const Tensor& before) {
            return shared_filter(tokens(x, from, to), w, before,
                                 segments.defined() ? documents_from(segments, from, to) : Tensor());
          };
          const SharedFilterResult first = part(0, cut, history), second = part(cut, 13, first.history);
          CHECK(max_diff(first.y, tokens(whole.y, 0, cut)) < 1e-12);
          CHECK(max_diff(second.y, tokens(whole.y, cut, 13)) < 1e-12);
          CHECK(max_diff(second.history, whole.history) == 0);
        }
      }
      Tensor running = history;
      const SharedFilterResult whole = shared_filter(x, w, history);
      for (int64_t t = 0; t < 13; ++t) {
        const SharedFilterResult one = shared_filter(tokens(x, t, t + 1), w, running);
        CHECK(max_diff(one.y, tokens(whole.y, t, t + 1)) < 1e-12);
        running = one.history;
      }
    }
}

TEST_CASE("shared_filter: gradients of x, weight, history and base through both results") {
  const Poison poison;
  for (const Tensor& segments : {Tensor(), documents()})
    for (int64_t width : {1, 3, 15}) {
      CAPTURE(width);
      const auto both = [&](const Tensors& in) {
        const SharedFilterResult r = shared_filter(in[0], in[1], in[2], segments, in[3]);
        return std::vector{r.y, r.history};
      };
      const Tensor x = random({2, 13, 4}, 1), w = random({2, width}, 2), history = random({2, width - 1, 4}, 3);
      CHECK(gradient_error(both, {x, w, history, random({2, 13, 4}, 4)}) < 1e-7);
      CHECK(gradient_error(both, {x, w, Tensor(), Tensor()}) < 1e-7);
    }
}

TEST_CASE("shared_filter: long rows, the same bits for any number of threads, f32 near f64, nothing from the future") {
  const Tensor x = random({2, 77, 300}, 1, DType::f32), w = random({2, 32}, 2, DType::f32);
  const auto run_with = [&](int n) {
    set_threads(n);
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor a = tape.leaf(x), b = tape.leaf(w);
    const SharedFilterResult r = shared_filter(a, b);
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
  const Tensor y = shared_filter(to_dtype(x, DType::f64), to_dtype(w, DType::f64)).y;
  CHECK(max_diff(to_dtype(one[0], DType::f64), y) < 2e-5);
  for (int64_t t : {0, 30, 33, 75}) {
    Tensor changed = x.clone();
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t r = b * 77 + t + 1; r < (b + 1) * 77; ++r)
        for (int64_t c = 0; c < 300; ++c) put(changed, r, c, std::numeric_limits<double>::quiet_NaN());
    CHECK(same_bits(tokens(shared_filter(changed, w).y, 0, t + 1), tokens(one[0], 0, t + 1)));
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
          const int64_t now = segments.defined() ? segments.data<int64_t>()[b * 13 + t] : 0;
          const int64_t then = segments.defined() && t > 0 ? segments.data<int64_t>()[b * 13 + t - 1] : 0;
          const double want = c >= 3        ? at(x, b * 13 + t, c)
                              : now != then ? 0
                              : t > 0       ? at(x, b * 13 + t - 1, c)
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
