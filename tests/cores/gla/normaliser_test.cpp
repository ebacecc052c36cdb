#include "cores/gla/normaliser.h"

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kHeads = 2, kTokens = 9;
constexpr double kEps = 1e-6;

Tensor documents() { return integers({2, kTokens}, {0, 0, 0, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 2, 3, 3, 3}); }

Tensor positive(const Shape& s, uint64_t seed) {
  return mapped(random(s, seed), [](double x) { return 0.1 + x * x; });
}

struct Inputs {
  Tensor o = random({2, kTokens, kHeads * 3}, 1), q = positive({2, kTokens, kHeads * 5}, 2),
         k = positive({2, kTokens, kHeads * 5}, 3), z0 = positive({2, kHeads, 5}, 4);
  Tensors list() const { return {o, q, k, z0}; }
};

Function both(const Tensor& segments) {
  return [=](const Tensors& x) {
    const NormaliserResult r = normalise_by_keys(x[0], x[1], x[2], x[3], segments, kHeads, kEps);
    return std::vector{r.y, r.z};
  };
}

}  // namespace

TEST_CASE("normaliser: the plain loop, whole or split, with documents and without") {
  const Poison poison;
  const Inputs in;
  for (const Tensor& segments : {Tensor(), documents()}) {
    const NormaliserResult got = normalise_by_keys(in.o, in.q, in.k, in.z0, segments, kHeads, kEps);
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t h = 0; h < kHeads; ++h) {
        double z[5];
        for (int64_t i = 0; i < 5; ++i) z[i] = at(in.z0, b * kHeads + h, i);
        for (int64_t t = 0; t < kTokens; ++t) {
          const int64_t row = b * kTokens + t;
          double weight = kEps;
          for (int64_t i = 0; i < 5; ++i) {
            z[i] = (starts(segments, b, t) ? 0 : z[i]) + at(in.k, row, h * 5 + i);
            weight += z[i] * at(in.q, row, h * 5 + i);
          }
          for (int64_t j = 0; j < 3; ++j)
            CHECK(at(got.y, row, h * 3 + j) == doctest::Approx(at(in.o, row, h * 3 + j) / weight).epsilon(1e-12));
        }
        for (int64_t i = 0; i < 5; ++i) CHECK(at(got.z, b * kHeads + h, i) == doctest::Approx(z[i]).epsilon(1e-12));
      }
  }
  const auto part = [&](int64_t from, int64_t to, const Tensors& z) {
    return both({})({tokens(in.o, from, to), tokens(in.q, from, to), tokens(in.k, from, to), z[0]});
  };
  expect_same_in_parts(part, {in.z0}, kTokens, 2e-14);
}

TEST_CASE("normaliser: gradients, costs, precision, threads, refused shapes") {
  const Poison poison;
  const Inputs in;
  for (const Tensor& segments : {Tensor(), documents()}) {
    expect_sound(both(segments), in.list());
    expect_sound(both(segments), {in.o, in.q, in.k, Tensor()});
  }
  expect_same_bits_on_threads(both({}), in.list());
  CHECK_THROWS_AS(normalise_by_keys(in.o, in.q, in.k, random({2, 2, 4}, 1), {}, kHeads, kEps), ShapeError);
  CHECK_THROWS_AS(normalise_by_keys(in.o, in.q, in.o, in.z0, {}, kHeads, kEps), ShapeError);
  CHECK_THROWS_AS(normalise_by_keys(in.o, in.q, in.k, in.z0, {}, 3, kEps), ShapeError);
}
