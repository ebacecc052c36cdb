#include "cores/scan/gated_scan.h"

#include <doctest/doctest.h>

#include "cores/common/reference.h"
#include "kernels/rows.h"
#include "ops/arithmetic.h"
#include "ops/pointwise.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr Candidate kBoth[] = {Candidate::linear, Candidate::g};

// What the fused form stands for; nothing is recorded.
ScanResult composed(const Tensor& gate, const Tensor& u, Candidate kind, const Tensor& h0, const Tensor& segments) {
  const Tensor z = sigmoid(gate), c = kind == Candidate::g ? pointwise(Pointwise::min_gru_g, u) : u;
  return reference_scan(one_minus(z), multiply(z, c), h0, segments);
}

// The first row goes on with a document and has two more, the second begins with a start.
Tensor documents() {
  const Tensor t = Tensor::dense({2, 6}, DType::i64);
  const int64_t starts[] = {0, 0, 1, 1, 2, 2, 1, 1, 1, 1, 2, 2};
  std::copy(std::begin(starts), std::end(starts), t.data<int64_t>());
  return t;
}

}  // namespace

TEST_CASE("gated_scan: equals the composition of its gates and the reference loop, whole, in pieces and by tokens") {
  const Poison poison;
  const Tensor gate = random({2, 6, 21}, 1), u = random({2, 6, 21}, 2), h0 = random({2, 21}, 3);
  for (Candidate kind : kBoth) {
    for (const Tensor& segments : {Tensor(), documents()})
      for (const Tensor& start : {h0, Tensor()}) {
        const ScanResult got = gated_scan(gate, u, kind, start, segments),
                         want = composed(gate, u, kind, start, segments);
        CHECK(max_diff(got.h, want.h) < 1e-13);
        CHECK(max_diff(got.last, want.last) < 1e-13);
      }
    const ScanResult whole = gated_scan(gate, u, kind, h0);
    const auto part = [&](int64_t from, int64_t to, const Tensor& start) {
      return gated_scan(tokens(gate, from, to), tokens(u, from, to), kind, start);
    };
    Tensor last = h0;
    for (int64_t t = 0; t < 6; ++t) {
      const ScanResult one = part(t, t + 1, last);
      CHECK(same_bits(one.h, tokens(whole.h, t, t + 1)));
      last = one.last;
      if (t == 5) continue;
      const ScanResult rest = part(t + 1, 6, last);
      CHECK(same_bits(rest.h, tokens(whole.h, t + 1, 6)));
      CHECK(same_bits(rest.last, whole.last));
    }
    CHECK(same_bits(last, whole.last));
  }
}

TEST_CASE("gated_scan: gradients with documents and a state and without, also where one tensor is gate and candidate") {
  const Poison poison;
  const Tensors with = {random({2, 6, 5}, 1), random({2, 6, 5}, 2), random({2, 5}, 3)};
  const Tensors without = {with[0], with[1], Tensor()};
  for (Candidate kind : kBoth)
    for (const Tensor& segments : {Tensor(), documents()}) {
      const auto both = [&](const Tensors& x) {
        const ScanResult r = gated_scan(x[0], x[1], kind, x[2], segments);
        return std::vector{r.h, r.last};
      };
      const auto last = [&](const Tensors& x) { return std::vector{both(x)[1]}; };
      CHECK(gradient_error(both, with) < 1e-7);
      CHECK(gradient_error(both, without) < 1e-7);
      CHECK(gradient_error(last, with) < 1e-7);
      const auto twice = [&](const Tensors& x) { return both({x[0], x[0], x[1]}); };
      CHECK(gradient_error(twice, {with[0], with[2]}) < 1e-7);
    }
}

TEST_CASE("gated_scan: every instruction set and width, f32 near f64, and gradients that add") {
  for (Candidate kind : kBoth)
    for (int64_t width : {1, 15, 16, 17, 33, 515}) {
      const Tensor gate = random({1, 5, width}, 1, DType::f32), u = random({1, 5, width}, 2, DType::f32);
      const Tensor exact = composed(to_dtype(gate, DType::f64), to_dtype(u, DType::f64), kind, {}, {}).h;
      for_each_isa([&] {
        CAPTURE(width);
        CHECK(max_diff(to_dtype(gated_scan(gate, u, kind).h, DType::f64), exact) < 2e-6);
        const auto sum = [&](int times) {
          Tape tape;
          const Tensor a = tape.leaf(gate), b = tape.leaf(u);
          Tensor y;
          {
            const Tape::Recording recording(tape);
            y = gated_scan(a, b, kind).h;
            for (int i = 1; i < times; ++i) y = add(y, gated_scan(a, b, kind).h);
          }
          tape.backward(y, Tensor::full({1, 5, width}, DType::f32, 1));
          return std::pair{tape.grad(a), tape.grad(b)};
        };
        const auto once = sum(1), twice = sum(2);
        CHECK(max_diff(add(once.first, once.first), twice.first) < 1e-5);
        CHECK(max_diff(add(once.second, once.second), twice.second) < 1e-5);
      });
    }
}

TEST_CASE("gated_scan: refuses shapes that don't fit") {
  const Tensor a = random({2, 3, 4}, 1);
  CHECK_THROWS_WITH_AS(gated_scan(a, random({2, 3, 5}, 1), Candidate::g),
                       doctest::Contains("gate[2, 3, 4] and candidate[2, 3, 5]"), ShapeError);
  CHECK_THROWS_AS(gated_scan(a, a, Candidate::g, random({2, 5}, 1)), ShapeError);
}
