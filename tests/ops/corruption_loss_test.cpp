#include "ops/corruption_loss.h"

#include <cmath>

#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

Tensor ids(const std::vector<int32_t>& values) {
  const Tensor t = Tensor::dense({static_cast<int64_t>(values.size())}, DType::i32);
  std::copy(values.begin(), values.end(), t.data<int32_t>());
  return t;
}

const std::vector<double> kTerms = {0.6, 0.1, 2.0, 0.3, 0.05, 1.5, 0.9, 0.02, 0.7, 0.5, 0.1, 1, 0.8, 0.04, 3};

Tensor terms() {
  const Tensor t = Tensor::dense({5, 3}, DType::f64);
  std::copy(kTerms.begin(), kTerms.end(), t.data<double>());
  return t;
}

}  // namespace

TEST_CASE("corruption_loss: the divergence as it is written, of tokens that are right, wrong, masked, or have none") {
  const Tensor z = random({5, 4}, 1, DType::f64, 2), x = ids({1, 2, 0, -1, 3}), seen = ids({1, 0, 4, 2, 3}),
               t = terms();
  double want = 0;
  for (int64_t r = 0; r < 5; ++r) {
    const int32_t own = x.data<int32_t>()[r], there = seen.data<int32_t>()[r];
    if (own < 0) continue;
    const double keep = at(t, r, 0), noise = at(t, r, 1);
    double sum = 0, kl = 0, ratio = 1;
    for (int64_t j = 0; j < 4; ++j) sum += std::exp(at(z, r, j));
    for (int64_t j = 0; j < 4; ++j) {
      const double q = noise + (j == own ? keep : 0), p = keep * std::exp(at(z, r, j)) / sum + noise;
      kl += q * std::log(q / p);
      if (j == there) ratio = q / p;
    }
    // q and p need not sum to 1: what is missing is MASK, alike in both.
    want += at(t, r, 2) * (kl + ratio - std::log(ratio) - 1);
  }
  CHECK(std::abs(*corruption_loss(z, x, seen, t).data<double>() - want) < 1e-12 * want);
}

TEST_CASE("corruption_loss: its gradient, threads and precision") {
  const Tensor z = random({5, 4}, 1, DType::f64, 2), x = ids({1, 2, 0, -1, 3}), seen = ids({1, 0, 4, 2, 3}),
               t = terms();
  const Function f = [&](const Tensors& in) { return Tensors{corruption_loss(in[0], x, seen, t)}; };
  expect_sound(f, {z});
  expect_same_bits_on_threads(f, {z});
  CHECK_THROWS_AS(corruption_loss(z, x, seen, random({5, 2}, 1)), ShapeError);
  CHECK_THROWS_AS(corruption_loss(z, ids({1}), seen, t), ShapeError);
  CHECK_THROWS_AS(corruption_loss(z, ids({1, 2, 4, 0, 0}), seen, t), DataError);
  // Nothing is noise: a wrong token can't have come about, and a right one costs nothing but what it would lose.
  const Tensor none = Tensor::zeros({5, 3}, DType::f64);
  for (int64_t r = 0; r < 5; ++r) put(none, r, 0, 1);
  CHECK(std::isfinite(*corruption_loss(z, x, x, none).data<double>()));
}
