#include "recurrence/scan.h"

#include <doctest/doctest.h>

#include "kernels/parallel.h"
#include "recurrence/reference.h"
#include "recurrence/segments.h"
#include "support/tensors.h"

using namespace effllm;
using test::max_diff;
using test::random;
using test::same_bits;
using test::tokens;

namespace {

Tensor i64(const Shape& s, std::initializer_list<int64_t> values) {
  const Tensor t = Tensor::dense(s, DType::i64);
  std::copy(values.begin(), values.end(), t.data<int64_t>());
  return t;
}

// Two rows of 13 tokens: the first goes on with a document and then has three more (one of a single token), the second
// begins with a start.
Tensor documents() {
  return i64({2, 13}, {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2});
}

Tensor step_of(const Tensor& x, int64_t t) { return tokens(x, t, t + 1).reshape({x.dim(0), x.cols()}); }

}  // namespace

TEST_CASE("scan: the whole, any split and single steps are the reference loop") {
  const test::Poison poison;
  const Shape s{2, 13, 70};
  const Tensor a = random(s, 1), b = random(s, 2), h0 = random({2, 70}, 3);
  const ScanResult whole = scan(a, b, h0), reference = reference_scan(a, b, h0, {});
  CHECK(max_diff(whole.h, reference.h) < 1e-12);
  CHECK(max_diff(whole.last, reference.last) < 1e-12);
  for (int64_t cut = 1; cut < 13; ++cut) {
    const ScanResult first = scan(tokens(a, 0, cut), tokens(b, 0, cut), h0);
    const ScanResult second = scan(tokens(a, cut, 13), tokens(b, cut, 13), first.last);
    CHECK(same_bits(first.h, tokens(whole.h, 0, cut)));
    CHECK(same_bits(second.h, tokens(whole.h, cut, 13)));
    CHECK(same_bits(second.last, whole.last));
  }
  const Tensor h = h0.clone();
  for (int64_t t = 0; t < 13; ++t) {
    scan_step(step_of(a, t), step_of(b, t), h);
    CHECK(max_diff(h, step_of(whole.h, t)) < 1e-12);
  }
  const Tensor zero = Tensor::zeros({2, 70}, DType::f64);
  CHECK(max_diff(scan(a, b).h, scan(a, b, zero).h) == 0);
}

TEST_CASE("scan: gradients through every output and the initial state, with documents and without") {
  const test::Poison poison;
  for (const Tensor& segments : {Tensor(), documents()}) {
    const auto both = [&](const std::vector<Tensor>& x) {
      const ScanResult r = scan(x[0], x[1], x[2], segments);
      return std::vector{r.h, r.last};
    };
    const Shape s{2, 13, 5};
    CHECK(test::gradient_error(both, {random(s, 1), random(s, 2), random({2, 5}, 3)}) < 1e-7);
    CHECK(test::gradient_error(both, {random(s, 1), random(s, 2), Tensor()}) < 1e-7);
    const auto last = [&](const std::vector<Tensor>& x) { return std::vector{scan(x[0], x[1], x[2], segments).last}; };
    CHECK(test::gradient_error(last, {random(s, 1), random(s, 2), random({2, 5}, 3)}) < 1e-7);
    const auto twice = [&](const std::vector<Tensor>& x) { return std::vector{scan(x[0], x[0], x[1], segments).h}; };
    CHECK(test::gradient_error(twice, {random(s, 1), random({2, 5}, 3)}) < 1e-7);
  }
}

TEST_CASE("scan: packed documents are each alone") {
  const Shape s{2, 13, 6};
  const Tensor a = random(s, 1), b = random(s, 2), h0 = random({2, 6}, 3);
  const ScanResult packed = scan(a, b, h0, documents()), reference = reference_scan(a, b, h0, documents());
  CHECK(max_diff(packed.h, reference.h) < 1e-12);
  CHECK(max_diff(packed.last, reference.last) < 1e-12);
  const ScanResult alone = scan(tokens(a, 8, 13), tokens(b, 8, 13));  // of both rows
  const Tensor first_row = tokens(packed.h, 8, 13).row_range(0, {1, 5, 6});
  CHECK(max_diff(first_row, alone.h.row_range(0, {1, 5, 6})) == 0);
}

TEST_CASE("scan: the same bits for any number of threads, f32 near f64") {
  const Shape s{3, 40, 600};
  const Tensor a = random(s, 1, DType::f32, 0.4), b = random(s, 2, DType::f32);
  const auto run_with = [&](int n) {
    set_threads(n);
    Tape tape;
    const Tape::Recording recording(tape);
    const Tensor x = tape.leaf(a), y = tape.leaf(b);
    const ScanResult r = scan(x, y);
    tape.backward(r.h, b);
    return std::vector{r.h, r.last, tape.grad(x), tape.grad(y)};
  };
  const int before = threads();
  const auto one = run_with(1);
  for (int n : {2, 3}) {
    const auto more = run_with(n);
    for (size_t i = 0; i < one.size(); ++i) CHECK(same_bits(one[i], more[i]));
  }
  set_threads(before);
  const Tensor h = scan(test::to_dtype(a, DType::f64), test::to_dtype(b, DType::f64)).h;
  CHECK(max_diff(test::to_dtype(one[0], DType::f64), h) < 1e-5 * test::max_abs(h));
}

TEST_CASE("scan: refuses shapes that don't fit, and costs nothing to ask on shapes alone") {
  const Tensor a = random({2, 3, 4}, 1);
  CHECK_THROWS_WITH_AS(scan(a, random({2, 3, 5}, 1)), doctest::Contains("scan: a[2, 3, 4] and b[2, 3, 5]"), ShapeError);
  CHECK_THROWS_AS(scan(a, a, random({2, 5}, 1)), ShapeError);
  CHECK_THROWS_AS(scan(a, test::to_dtype(a, DType::f32)), ShapeError);
  CHECK_THROWS_WITH_AS(scan(a, a, {}, i64({2, 2}, {0, 0, 0, 0})), doctest::Contains("segments"), ShapeError);
  CHECK_THROWS_AS(scan(a, a, {}, random({2, 3}, 1)), ShapeError);
  CHECK_THROWS_AS(scan_step(random({2, 4}, 1), random({2, 4}, 1), random({2, 5}, 1)), ShapeError);
  const MetaMode meta;
  const Tensor shape = Tensor::empty({2, 3, 4}, DType::f32);
  CHECK(scan(shape, shape).last.shape() == Shape{2, 4});
}

TEST_CASE("segments: pieces, document borders and attention's ranges of keys") {
  const DocumentStarts starts(documents());
  const uint8_t *first = starts.row(0), *second = starts.row(1);
  CHECK(continues(first));
  CHECK_FALSE(continues(second));
  CHECK(document_begin(first, 2) == 0);
  CHECK(document_begin(first, 6) == 3);
  CHECK(document_end(first, 3, 13) == 7);
  CHECK(document_end(first, 12, 13) == 13);
  const std::vector<Piece> pieces = pieces_of(first, 13, 3);
  const int64_t expected[][4] = {{0, 3, 0, 1}, {3, 6, 1, 0}, {6, 7, 0, 1}, {7, 8, 1, 1}, {8, 11, 1, 0}, {11, 13, 0, 0}};
  REQUIRE(pieces.size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    CHECK(pieces[i].from == expected[i][0]);
    CHECK(pieces[i].to == expected[i][1]);
    CHECK(pieces[i].fresh == (expected[i][2] != 0));
    CHECK(pieces[i].closes == (expected[i][3] != 0));
  }
  CHECK(pieces_of(second, 13, 100).front().fresh);
  CHECK(pieces_of(nullptr, 13, 13).size() == 1);
  int64_t from[13], to[13];
  document_keys(first, 13, 20, 15, from, to);
  CHECK(from[0] == 15);
  CHECK(to[2] == 23);
  CHECK(from[3] == 23);
  CHECK(to[6] == 27);
  CHECK(from[12] == 28);
  CHECK(to[12] == 33);
  CHECK(DocumentStarts(Tensor()).row(0) == nullptr);
}
