// What is Muon's own: which weights it takes, and how.
#include <doctest/doctest.h>

#include "checkpoint/checkpoint.h"
#include "config/expect.h"
#include "kernels/parallel.h"
#include "optim/adamw.h"
#include "optim/normal_store.h"
#include "support/models.h"
#include "support/tensors.h"

using namespace effllm;
using effllm::testing::config_error;

namespace {

OptimOptions options(std::string_view yaml) {
  OptimOptions o;
  read(o, parse_config(yaml, "o.yaml"), "optim");
  return o;
}

// a.weight of two matrices [6, 5] and [3, 5], a.bias, an embedding [7, 4] and a filter [4, 6].
struct Store : test::NormalStore {
  explicit Store(DType type = DType::f64)
      : NormalStore({{"a.weight", {9, 5}, {.lr_scale = 0.5, .matrices = {6, 3}}},
                     {"a.bias", {9}, {.decay = false}},
                     {"embedding.weight", {7, 4}, {.role = Role::hidden}},
                     {"filter.weight", {4, 6}, {.lr_scale = 0.1}}},
                    type) {}
};

void random_gradient(const ParamStore& params, const Slab& gradient, uint64_t seed) {
  for (const Parameter* p : params.sorted())
    copy(test::random(p->shape, seed++, params.dtype()), params.view(gradient, *p));
}

// The weights after some steps on random gradients, all in one.
std::vector<Tensor> trained(ParamStore& params, const OptimOptions& o, const std::vector<GroupOptions>& groups = {},
                            int steps = 3) {
  const auto optimizer = build_optimizer(o, groups, params);
  const Slab gradient(params.slab_elements(), params.dtype());
  for (int step = 0; step < steps; ++step) {
    random_gradient(params, gradient, 100 * static_cast<uint64_t>(step + 1));
    optimizer->step(gradient, 0.5, 1.0 / (1 + step));
  }
  std::vector<Tensor> all;
  for (const Parameter* p : params.sorted()) all.push_back(p->value.clone());
  return all;
}

}  // namespace

TEST_CASE("muon: what is no matrix between hidden features is AdamW's, to the bit, at its own learning rate") {
  for (const DType type : {DType::f64, DType::f32}) {
    Store a(type), b(type), c(type), d(type);
    const auto adamw = trained(a.params, options("{lr: 0.01, beta2: 0.95, eps: 1e-6}"));
    const auto muon = trained(b.params, options("{type: muon, lr: 0.3, adamw_lr: 0.01, beta2: 0.95, eps: 1e-6}"));
    const auto same = trained(c.params, options("{type: muon, lr: 0.01, beta2: 0.95, eps: 1e-6}"));
    const auto other = trained(d.params, options("{type: muon, lr: 0.01, beta2: 0.5, eps: 1e-6}"));
    for (size_t i = 0; i < adamw.size(); ++i) {
      const std::string& name = a.params.sorted()[i]->name;
      CAPTURE(name);
      CHECK(test::same_bits(adamw[i], muon[i]) == (name != "a.weight"));
      CHECK(test::same_bits(adamw[i], same[i]) == (name != "a.weight"));  // lr where there is no adamw_lr
      CHECK(test::same_bits(same[i], other[i]) == (name == "a.weight"));  // whose moments matrices have none of
    }
  }
}

TEST_CASE("muon: a weight of several matrices moves as they do, each by its own norm and shape") {
  ParamStore whole, parts;
  whole.add("a", {9, 5}, Init::zeros(), {.matrices = {6, 3}});
  parts.add("first", {6, 5}, Init::zeros(), {.matrices = {6}});
  parts.add("second", {3, 5}, Init::zeros(), {.matrices = {3}});
  for (ParamStore* s : {&whole, &parts}) s->materialize(1, DType::f64);
  const Tensor g = test::random({9, 5}, 3), top = Tensor::view_of(g.raw(), {6, 5}, DType::f64, g.stride()),
               bottom = Tensor::view_of(g.raw() + static_cast<size_t>(6 * g.stride()) * sizeof(double), {3, 5},
                                        DType::f64, g.stride());
  const Slab of_whole(whole.slab_elements(), DType::f64), of_parts(parts.slab_elements(), DType::f64);
  copy(g, whole.view(of_whole, *whole.find("a")));
  copy(top, parts.view(of_parts, *parts.find("first")));
  copy(bottom, parts.view(of_parts, *parts.find("second")));
  const OptimOptions o = options("{type: muon, lr: 0.1}");
  build_optimizer(o, {}, whole)->step(of_whole, 1, 1);
  build_optimizer(o, {}, parts)->step(of_parts, 1, 1);
  for (int64_t r = 0; r < 9; ++r)
    for (int64_t c = 0; c < 5; ++c)
      CHECK(test::at(whole.find("a")->value, r, c) ==
            test::at(parts.find(r < 6 ? "first" : "second")->value, r < 6 ? r : r - 6, c));
}

TEST_CASE("muon: scales of parameters, groups and decay are those of every optimizer") {
  Store plain, still, faster;
  GroupOptions none, fast;
  none.match = "a.*", none.lr = 0;
  fast.match = "a.weight", fast.lr = 0.1;
  const OptimOptions o = options("{type: muon, lr: 0.2, weight_decay: 0}");
  const Tensor before = plain.params.find("a.weight")->value.clone();
  const auto moved = trained(plain.params, o);
  CHECK(test::max_diff(moved[1], before) > 1e-3);
  CHECK(test::same_bits(trained(still.params, o, {none})[1], before));
  // lr_scale 0.5 of 0.2 is the group's 0.1.
  CHECK(test::same_bits(trained(faster.params, o, {fast})[1], moved[1]));
  REQUIRE(plain.params.sorted()[1]->name == "a.weight");
  // With a gradient of nothing, weights decay and nothing else.
  Store decayed;
  const auto optimizer = build_optimizer(options("{type: muon, lr: 0.2, weight_decay: 0.5}"), {}, decayed.params);
  optimizer->step(Slab(decayed.params.slab_elements(), DType::f64), 1, 1);
  const Tensor after = decayed.params.find("a.weight")->value;
  for (int64_t r = 0; r < 9; ++r)
    for (int64_t c = 0; c < 5; ++c)
      CHECK(test::at(after, r, c) == doctest::Approx(test::at(before, r, c) * (1 - 0.5 * 0.2 * 0.5)).epsilon(1e-12));
}

TEST_CASE("muon: 1, 2 and 3 threads give the same bits, with matrices that they share, and with some for each") {
  const auto run = [](int n, std::string_view coefficients, bool many) {
    const test::Threads threads(n);
    ParamStore params;
    params.add("a", {520, 300}, Init::normal(0.1), {.matrices = {300, 220}});
    params.add("b", {200, 700}, Init::normal(0.1), {.matrices = {200}});
    params.add("c", {30000}, Init::normal(0.1), {});
    for (const char* name : {"d", "e", "f", "g"})
      if (many) params.add(name, {120, 80}, Init::normal(0.1), {.matrices = {120}});
    params.materialize(1, DType::f32);
    trained(params, options("{type: muon, normuon: true, coefficients: " + std::string(coefficients) + "}"), {},
            many ? 6 : 2);
    return parameter_hash(params);
  };
  for (const char* coefficients : {"quintic", "polar_express"})
    for (const bool many : {false, true}) {
      const std::string one = run(1, coefficients, many);
      CHECK(run(2, coefficients, many) == one);
      CHECK(run(3, coefficients, many) == one);
    }
}

TEST_CASE("muon: one number for each element of a matrix, AdamW's two for the rest") {
  const Store s;
  const OptimizerInfo& muon = all_optimizers.find("muon");
  for (const Parameter* p : s.params.sorted()) {
    CAPTURE(p->name);
    const auto slots = slots_of(Choice(all_optimizers, "muon"))(*p);
    if (p->name == "a.weight") {
      REQUIRE(slots.size() == 1);
      CHECK(slots[0] == SlotKind{"momentum"});
    } else {
      CHECK(slots == adamw_slots());
    }
  }
  // A matrix of 6 x 5, the next one, and two Gram matrices of 5 x 5; of two matrices in all two threads take one each
  // only where there are two for each.
  CHECK(muon.workspace(s.params, 1) == 2 * 30 + 2 * 25);
  CHECK(muon.workspace(s.params, 2) == 2 * 30 + 2 * 25);
  CHECK(all_optimizers.find("adamw").workspace(s.params, 2) == 0);
}

TEST_CASE("muon: flops are those of the products") {
  Store s;
  // Five times, of [6, 5] and [3, 5]: the smaller Gram matrix, its square, and the product with the matrix.
  const double wide = 2 * 3 * 3 * 5 + 2 * 3 * 3 * 3 + 2 * 3 * 3 * 5,
               tall = 2 * 5 * 5 * 6 + 2 * 5 * 5 * 5 + 2 * 5 * 5 * 6;
  CHECK(build_optimizer(options("{type: muon}"), {}, s.params)->flops() == 5 * (wide + tall));
  CHECK(build_optimizer(options("{}"), {}, s.params)->flops() == 0);
}

TEST_CASE("muon: its keys are its own, and kept when options are copied") {
  CHECK(has(config_error([] { options("{momentum: 0.9}"); }), "optim.momentum belongs to type: muon"));
  CHECK(has(config_error([] { options("{type: muon, momentum: 1}"); }), "`momentum` must be in the range"));
  CHECK(has(config_error([] { options("{type: muon, coefficients: cubic}"); }), "quintic, polar_express"));
  OptimOptions o = options("{type: muon, momentum: 0.5, weight_decay: 0.2}");
  OptimOptions copied = o;
  CHECK(to_flow_yaml(write(copied)) == to_flow_yaml(write(o)));
  CHECK(has(to_flow_yaml(write(o)), "momentum: 0.5"));
  CHECK(has(to_flow_yaml(write(o)), "iterations: 5"));
  read(copied, parse_config("{type: muon, momentum: 0.25}", "o.yaml"), "optim");
  CHECK(has(to_flow_yaml(write(o)), "momentum: 0.5"));  // not shared
  copied.type = Choice(all_optimizers, "adamw");
  CHECK_FALSE(has(to_flow_yaml(write(copied)), "momentum"));
}
