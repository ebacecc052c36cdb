#include "nn/param_store.h"

#include <doctest/doctest.h>

#include <cmath>

#include "kernels/parallel.h"
#include "nn/linear.h"
#include "support/close.h"
#include "support/tensors.h"

using namespace effllm;
using test::at;

namespace {

void build(ParamStore& store, const std::vector<std::string>& names) {
  for (const std::string& name : names) store.add(name, {5, 7}, Init::normal(0.5), {});
}

// Mean and standard deviation of a large parameter that starts like this.
struct Moments {
  double mean, stddev, largest;
};
Moments moments(Init init) {
  ParamStore store;
  const Parameter& p = store.add("w", {200, 100}, init, {});
  store.materialize(3, DType::f64);
  double sum = 0;
  for (int64_t r = 0; r < 200; ++r)
    for (int64_t c = 0; c < 100; ++c) sum += at(p.value, r, c);
  return {sum / 20'000, std::sqrt(test::dot(p.value, p.value) / 20'000), test::max_abs(p.value)};
}

}  // namespace

TEST_CASE("param store: initial values depend on seed and name only") {
  ParamStore few, many, other;
  build(few, {"layers.1.w", "layers.0.w"});
  build(many, {"layers.0.a", "layers.0.w", "head", "layers.1.w"});
  build(other, {"layers.0.w"});
  few.materialize(7, DType::f32);
  many.materialize(7, DType::f32);
  other.materialize(8, DType::f32);
  CHECK(test::same_bits(few.find("layers.0.w")->value, many.find("layers.0.w")->value));
  CHECK(test::same_bits(few.find("layers.1.w")->value, many.find("layers.1.w")->value));
  CHECK_FALSE(test::same_bits(few.find("layers.0.w")->value, few.find("layers.1.w")->value));
  CHECK_FALSE(test::same_bits(few.find("layers.0.w")->value, other.find("layers.0.w")->value));
}

TEST_CASE("param store: f32 values are those of f64, rounded, and threads change nothing") {
  ParamStore narrow, wide;
  const auto fill = [](ParamStore& store) {
    store.add("w", {70, 128}, Init::normal(1), {});
    for (const int64_t columns : {1, 3, 127, 1000})
      store.add(std::to_string(columns), {500, columns}, Init::normal(0.02), {});
  };
  fill(narrow), fill(wide);
  const int before = threads();
  set_threads(3);
  narrow.materialize(1, DType::f32);
  set_threads(1);
  wide.materialize(1, DType::f64);
  set_threads(before);
  for (const Parameter* p : narrow.sorted())
    CHECK(test::same_bits(p->value, test::to_dtype(wide.find(p->name)->value, DType::f32)));
}

TEST_CASE("param store: parameters lie in the order of names, each on a cache line of its own") {
  for (DType type : {DType::f32, DType::f64}) {
    ParamStore store;
    const std::vector<std::pair<std::string, Shape>> declared = {
        {"b", {3}}, {"a.x", {2, 5}}, {"c", {4, 128}}, {"a", {1}}, {"b2", {1, 128}}};
    for (const auto& [name, shape] : declared) store.add(name, shape, Init::ones(), {});
    store.materialize(1, type);
    const auto size = static_cast<int64_t>(size_of(type));
    int64_t end = 0;
    const std::vector<std::string> order = {"a", "a.x", "b", "b2", "c"};
    REQUIRE(store.sorted().size() == order.size());
    for (size_t i = 0; i < order.size(); ++i) {
      const Parameter& p = *store.sorted()[i];
      CHECK(p.name == order[i]);
      CHECK(p.offset == end);
      CHECK(p.extent * size % 64 == 0);
      CHECK(p.extent >= (p.shape.rows() - 1) * p.value.stride() + p.shape.cols());
      CHECK(reinterpret_cast<uintptr_t>(p.value.raw()) % 64 == 0);
      CHECK(p.value.raw() == store.values().raw() + p.offset * size);
      CHECK(p.value.slot == parameter_slot(static_cast<int>(i)));
      end += p.extent;
    }
    CHECK(store.slab_elements() == end);
    CHECK(store.find("c")->value.stride() == padded_stride(128, type));
    CHECK(store.count() == 3 + 10 + 512 + 1 + 128);
  }
}

TEST_CASE("param store: gradients are views of a slab laid out like the values, none written yet") {
  ParamStore store;
  build(store, {"b", "a"});
  store.materialize(1, DType::f32);
  const Slab slab(store.slab_elements(), DType::f32);
  const ParamGrads grads = store.gradients(slab);
  REQUIRE(grads.views.size() == 2);
  CHECK(grads.views[1].raw() == slab.raw() + store.find("b")->offset * 4);
  CHECK(grads.views[1].shape() == Shape{5, 7});
  CHECK(test::max_abs(grads.views[0]) == 0);
  for (char w : grads.written) CHECK(w == 0);
}

TEST_CASE("param store: initial distributions have the moments they name") {
  const double se = 1 / std::sqrt(20'000.0);
  const Moments normal = moments(Init::normal(0.02)), uniform = moments(Init::uniform(0.3));
  CHECK(std::abs(normal.mean) < 5 * 0.02 * se);
  CHECK(test::close(normal.stddev, 0.02, 0.02));
  CHECK(std::abs(uniform.mean) < 5 * 0.3 * se);
  CHECK(test::close(uniform.stddev, 0.3 / std::sqrt(3.0), 0.02));
  CHECK(uniform.largest <= 0.3);
  CHECK(uniform.largest > 0.29);
  const Moments constant = moments(Init::constant(-2));
  CHECK(constant.mean == -2);
  CHECK(Init::torch_linear(16).a == 0.25);
  CHECK(test::close(Init::xavier_uniform(2, 4, 3).a, 3, 1e-15));
}

TEST_CASE("param store: a policy replaces the start of hidden and residual weights, and of no others") {
  ParamStore store;
  store.policy = {.stddev = 0.02, .residual_factor = 0.5};
  const Scope root(store);
  CHECK(root.param("hidden", {2, 2}, Init::ones(), {.role = Role::hidden}).init.a == 0.02);
  CHECK(root.param("residual", {2, 2}, Init::ones(), {.role = Role::residual}).init.a == 0.01);
  const Parameter& own = root.param("own", {2, 2}, Init::ones());
  CHECK(own.init.kind == Init::Kind::constant);
  CHECK(own.init.a == 1);
}

TEST_CASE("scope: names are paths, and each is declared once") {
  ParamStore store;
  const Scope layer = Scope(store) / "layers" / "3";
  CHECK(layer.prefix() == "layers.3.");
  const Linear dense(layer / "mixer", 4, 2, Init::torch_linear(4), Role::hidden, true);
  CHECK(dense.weight->name == "layers.3.mixer.weight");
  CHECK(dense.weight->shape == Shape{2, 4});
  CHECK(dense.weight->traits.decay);
  CHECK_FALSE(dense.bias->traits.decay);
  CHECK_THROWS_WITH_AS((layer / "mixer").param("bias", {1}, Init::zeros()),
                       doctest::Contains("`layers.3.mixer.bias` is declared twice"), ShapeError);
  store.materialize(1, DType::f64);
  CHECK(test::max_abs(dense.bias->value) == 0);
  CHECK(store.find("layers.3.mixer.weight") == dense.weight);
  CHECK(store.find("layers.3.mixer") == nullptr);
  CHECK(store.find("zzz") == nullptr);
}

TEST_CASE("param store: as_meta has shapes and slots but takes no memory") {
  ParamStore store;
  store.add("huge", {1 << 20, 1 << 20}, Init::ones(), {});
  store.as_meta(DType::f32);
  const Tensor& v = store.find("huge")->value;
  CHECK(v.defined());
  CHECK(v.slot == parameter_slot(0));
  CHECK(v.shape() == Shape{1 << 20, 1 << 20});
  CHECK(store.count() == int64_t{1} << 40);
}

TEST_CASE("param store: a shared parameter is one, whichever layer asks, and every layer must mean the same") {
  ParamStore store;
  const Scope root(store);
  Parameter& first = (root / "layers.0").shared("floor", {2, 3}, Init::zeros());
  CHECK(&first == &(root / "layers.1").shared("floor", {2, 3}, Init::zeros()));
  CHECK(first.name == "floor");
  CHECK_THROWS_WITH_AS(root.shared("floor", {3, 3}, Init::zeros()), doctest::Contains("floor"), ShapeError);
  store.materialize(1, DType::f32);
  CHECK(store.count() == 6);
}

TEST_CASE("param store: what a share of the tokens goes through is active as much") {
  ParamStore store;
  const Scope some = (Scope(store) / "a").for_share(0.5);
  const Parameter& w = (some / "b").param("w", {4, 5}, Init::zeros());
  CHECK(w.traits.active == 0.5);
  CHECK(w.name == "a.b.w");
  CHECK(some.for_share(0.5).param("x", {2}, Init::zeros(), {.active = 0.25}).traits.active == 0.0625);
  CHECK((Scope(store) / "a").param("y", {2}, Init::zeros()).traits.active == 1);
  CHECK(store.active() == 12);
}

TEST_CASE("param store: a mapped start sees a uniform number and its place within its block") {
  ParamStore store;
  const auto place = [](double u, int64_t row, int64_t column) {
    return u >= 0 && u < 1 ? static_cast<double>(10 * row + column) + 0.5 * u : -1.0;
  };
  const Parameter& p = store.add("w", {5, 3}, Init::stacked({{2, Init::zeros()}, {3, Init::mapped(place)}}), {});
  store.materialize(1, DType::f64);
  for (int64_t r = 0; r < 5; ++r)
    for (int64_t c = 0; c < 3; ++c) {
      const double want = r < 2 ? 0 : static_cast<double>(10 * (r - 2) + c);
      CHECK(at(p.value, r, c) >= want);
      CHECK(at(p.value, r, c) < want + 0.5);
    }
  CHECK(at(p.value, 2, 1) != 1 + at(p.value, 2, 0));
}
