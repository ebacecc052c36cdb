#include "cores/scan/gated_scan.h"

#include "cores/common/reference.h"
#include "kernels/rows.h"
#include "ops/arithmetic.h"
#include "ops/op_checks.h"
#include "ops/pointwise.h"

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
Tensor documents() { return integers({2, 6}, {0, 0, 1, 1, 2, 2, 1, 1, 1, 1, 2, 2}); }

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
    const auto part = [&](int64_t from, int64_t to, const Tensors& start) {
      const ScanResult r = gated_scan(tokens(gate, from, to), tokens(u, from, to), kind, start[0]);
      return Tensors{r.h, r.last};
    };
    expect_same_in_parts(part, {h0}, 6, 0);
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
      expect_gradients(both, with);
      CHECK(gradient_error(both, without) < 1e-7);
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
        CHECK(max_diff(gated_scan(gate, u, kind).h, exact) < 2e-6);
        const auto sum = [&](int times) {
          Tape tape;
          const Tensor a = tape.leaf(gate), b = tape.leaf(u);
          const Tape::Recording recording(tape);
          Tensor y = gated_scan(a, b, kind).h;
          for (int i = 1; i < times; ++i) y = add(y, gated_scan(a, b, kind).h);
          tape.backward(y, Tensor::full({1, 5, width}, DType::f32, 1));
          return Tensors{tape.grad(a), tape.grad(b)};
        };
        const Tensors once = sum(1);
        expect_near(sum(2), {add(once[0], once[0]), add(once[1], once[1])}, 1e-6);
      });
    }
}

TEST_CASE("gated_scan: refuses shapes that don't fit") {
  const Tensor a = random({2, 3, 4}, 1);
  CHECK_THROWS_WITH_AS(gated_scan(a, random({2, 3, 5}, 1), Candidate::g),
                       doctest::Contains("gate[2, 3, 4] and candidate[2, 3, 5]"), ShapeError);
  CHECK_THROWS_AS(gated_scan(a, a, Candidate::g, random({2, 5}, 1)), ShapeError);
}
