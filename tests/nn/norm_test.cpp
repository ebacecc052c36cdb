#include "nn/norm.h"

#include <doctest/doctest.h>

#include "base/error.h"
#include "ops/norm.h"
#include "support/tensors.h"

using namespace effllm;
using test::random;

namespace {

NormOptions options(const std::string& type, bool bias, double eps = 1e-5) {
  NormOptions o;
  o.type = type;
  o.bias = bias;
  o.eps = eps;
  return o;
}

}  // namespace

TEST_CASE("norm: the type chooses the op, eps goes with it") {
  ParamStore store;
  const Scope root(store);
  const Norm rms(options("rms_norm", false, 0.5), root / "rms", 8),
      layer(options("layer_norm", false), root / "layer", 8);
  store.materialize(1, DType::f64);
  const Tensor x = random({2, 3, 8}, 1), ones = Tensor::full({8}, DType::f64, 1);
  CHECK(test::same_bits(rms(x), rms_norm(x, ones, 0.5)));
  CHECK(test::same_bits(layer(x), layer_norm(x, ones, {}, 1e-5)));
}

TEST_CASE("norm: weights start at 1, biases at 0, neither decays") {
  ParamStore store;
  const Norm norm(options("layer_norm", true), Scope(store) / "n", 8);
  store.materialize(1, DType::f64);
  REQUIRE(store.sorted().size() == 2);
  CHECK(test::max_diff(store.find("n.weight")->value, Tensor::full({8}, DType::f64, 1)) == 0);
  CHECK(test::max_abs(store.find("n.bias")->value) == 0);
  for (const Parameter* p : store.sorted()) CHECK_FALSE(p->traits.decay);
  fill(store.find("n.bias")->value, 3);
  const Tensor x = random({2, 8}, 1), ones = Tensor::full({8}, DType::f64, 1);
  CHECK(test::same_bits(norm(x), layer_norm(x, ones, Tensor::full({8}, DType::f64, 3), 1e-5)));
}

TEST_CASE("norm: without a weight there is nothing to learn, and the rest is as with ones") {
  const Tensor x = random({2, 3, 8}, 1);
  for (const char* type : {"rms_norm", "layer_norm"}) {
    ParamStore store;
    NormOptions plain = options(type, false);
    plain.weight = false;
    const Norm without(plain, Scope(store) / "without", 8);
    CHECK(store.count() == 0);
    const Norm with(options(type, false), Scope(store) / "with", 8);
    store.materialize(1, DType::f64);
    CHECK(test::same_bits(without(x), with(x)));
  }
}

TEST_CASE("norm: a head's norm works on groups of its width") {
  ParamStore store;
  const RmsNorm norm(Scope(store) / "n", 4, 1e-5);
  store.materialize(1, DType::f64);
  const Tensor x = random({3, 8}, 2), y = norm(x);
  CHECK(test::max_diff(y.columns(4, 4), norm(x.columns(4, 4).clone())) < 1e-15);
}

TEST_CASE("norm: rms_norm with a bias is refused, the message says what to do") {
  ParamStore store;
  const auto build = [&] { Norm(options("rms_norm", true), Scope(store), 8); };
  CHECK_THROWS_WITH_AS(build(), doctest::Contains("layer_norm"), ConfigError);
}
