#include "autodiff/tape.h"

#include <doctest/doctest.h>

#include "cores/attention/attention.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/pointwise.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// Runs f on a leaf of x while `tape` records; {leaf, f(leaf)...}.
Tensors record(Tape& tape, const Tensor& x, const std::function<Tensors(const Tensor&)>& f) {
  const Tape::Recording recording(tape);
  Tensors all = {tape.leaf(x)};
  for (Tensor& y : f(all[0])) all.push_back(std::move(y));
  return all;
}

Tensor sum_of(const Tensors& parts) {
  Tensor s = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) s = add(s, parts[i]);
  return s;
}

// a * b + a, whose backward holds both sinks while it writes them element by element, the second input first, and adds
// to the first one by give().
class HoldsSinksOp final : public Op {
 public:
  std::string_view name() const override { return "holds_sinks"; }
  Outputs infer(std::span<const Tensor> in) const override { return {{in[0].shape(), in[0].dtype()}}; }
  Cost cost(std::span<const Tensor>) const override { return {}; }
  Keeps keeps() const override { return {.inputs = 3}; }
  void forward(Forward& c) override { copy(add(multiply(c.in(0), c.in(1)), c.in(0)), c.out(0)); }
  void backward(Backward& c) override {
    const Sink a = c.sink(0), b = c.sink(1);
    c.give(0, c.grad(0));
    for (int64_t r = 0; r < c.grad(0).rows(); ++r)
      for (int64_t k = 0; k < c.grad(0).cols(); ++k) {
        const double g = at(c.grad(0), r, k);
        write(b, r, k, g * at(c.in(0), r, k));
        write(a, r, k, g * at(c.in(1), r, k));
      }
  }

 private:
  static void write(const Sink& s, int64_t r, int64_t k, double x) {
    if (!s.into.defined()) return;
    double& y = s.into.view<double>().row(r)[k];
    y = s.accumulate ? y + x : x;
  }
};
Tensor holds_sinks(const Tensor& a, const Tensor& b) { return run(std::make_unique<HoldsSinksOp>(), {a, b}); }

}  // namespace

TEST_CASE("tape: gradients of every use of a tensor add up") {
  const auto f = [](const Tensors& x) {
    const Tensor a = sigmoid(x[0]), b = multiply(a, x[0]);
    return std::vector{add(add(a, b), add(b, x[0])), multiply(b, a)};
  };
  CHECK(gradient_error(f, {random({3, 5}, 1)}) < 1e-7);
}

TEST_CASE("tape: one tensor as several inputs of one op gets the sum of their gradients") {
  using F = std::function<Tensor(const Tensor&)>;
  const AttentionOptions options{.heads = 2, .kv_heads = 2};
  const std::pair<const char*, F> ops[] = {
      {"multiply", [](const Tensor& x) { return multiply(x, x); }},
      {"linear",
       [](const Tensor& x) {
         return linear(x.reshape({4, 4}), x.reshape({4, 4})).reshape({1, 4, 4});
       }},
      {"attention", [&](const Tensor& x) { return attention(x, x, x, options, {}); }},
      {"an op that holds its sinks", [](const Tensor& x) { return holds_sinks(x, x); }}};
  const Poison poison;
  for (const auto& [name, f] : ops) {
    CAPTURE(name);
    const auto alone = [&](const Tensors& x) { return std::vector{f(x[0])}; };
    CHECK(gradient_error(alone, {random({1, 4, 4}, 40)}) < 1e-7);
    const auto among_others = [&](const Tensors& x) {
      const Tensor a = sigmoid(x[0]);
      return std::vector{add(f(a), a), f(a), f(x[0]), add(a, x[0])};
    };
    CHECK(gradient_error(among_others, {random({1, 4, 4}, 41)}) < 1e-7);
    const auto of_a_part = [&](const Tensors& x) {
      const auto part = split_columns(x[0], {4, 2});
      const Tensor dense = scale(part[0], 1);
      return std::vector{f(dense), holds_sinks(part[0], part[0]), part[1]};
    };
    CHECK(gradient_error(of_a_part, {random({1, 4, 6}, 42)}) < 1e-7);
  }
}

TEST_CASE("tape: a parameter as both inputs of an op that holds its sinks") {
  const Poison poison;
  const Tensor values = random({2, 3}, 43), seed = random({2, 3}, 44);
  Tensor weight = Tensor::view_of(values.raw(), {2, 3}, DType::f64, values.stride());
  weight.slot = parameter_slot(0);
  ParamGrads grads;
  grads.views.push_back(Tensor::empty({2, 3}, DType::f64));
  grads.reset();
  ParamGrads::current = &grads;
  for (int uses = 1; uses <= 2; ++uses) {  // the first use overwrites what was there, the second adds
    Tape tape;
    const auto all = record(tape, values, [&](const Tensor&) { return std::vector{holds_sinks(weight, weight)}; });
    tape.backward(all[1], seed);
    CHECK(max_diff(grads.views[0], scale(add(scale(multiply(values, seed), 2), seed), uses)) < 1e-13);
  }
  ParamGrads::current = nullptr;
}

TEST_CASE("tape: a gradient that several slots share is never written through") {
  // add() hands one gradient to both inputs; one of them gets more from its other use.
  const Poison poison;
  Tape tape;
  const Tensor x = random({2, 3}, 2), seed = random({2, 3}, 3), untouched = seed.clone();
  const auto all = record(tape, x, [](const Tensor& leaf) {
    const Tensor a = scale(leaf, 2), b = scale(leaf, 3), more = scale(b, 5);
    return std::vector{add(add(a, b), more)};
  });
  tape.backward(all[1], seed);
  CHECK(same_bits(seed, untouched));
  CHECK(max_diff(tape.grad(all[0]), scale(seed, 2 + 3 + 15)) < 1e-13);
}

TEST_CASE("tape: the caller's seed survives when it becomes a leaf's gradient") {
  Tape tape;
  const Tensor seed = random({2, 3}, 4), untouched = seed.clone();
  const auto all = record(tape, random({2, 3}, 5), [](const Tensor& leaf) { return std::vector{add(leaf, leaf)}; });
  tape.backward(all[1], seed);
  CHECK(same_bits(seed, untouched));
  CHECK(max_diff(tape.grad(all[0]), scale(seed, 2)) < 1e-15);
}

TEST_CASE("tape: several seeds, also of one tensor and of a leaf, add up") {
  Tape tape;
  const Tensor g1 = random({2, 3}, 6), g2 = random({2, 3}, 7), g3 = random({2, 3}, 8);
  const auto all = record(tape, random({2, 3}, 9), [](const Tensor& leaf) {
    return std::vector{scale(leaf, 2), scale(leaf, 3)};
  });
  const Tape::Seed seeds[] = {{all[1], g1}, {all[2], g2}, {all[1], g3}, {all[0], g3}};
  tape.backward(seeds);
  CHECK(max_diff(tape.grad(all[0]), sum_of({scale(g1, 2), scale(g2, 3), scale(g3, 3)})) < 1e-14);
}

TEST_CASE("tape: parts of a split write one joint gradient, unused parts stand for zero") {
  const Poison poison;  // what no part wrote would be NaN
  const Tensor x = random({3, 7}, 10);
  for (int unused : {0, 1, 2}) {
    Tape tape;
    const auto all = record(tape, x, [&](const Tensor& leaf) {
      const auto part = split_columns(leaf, {2, 4, 1});
      Tensors y;
      for (int i = 0; i < 3; ++i)
        if (i != unused) y.push_back(scale(part[static_cast<size_t>(i)], i + 1));
      return y;
    });
    const std::vector<Tape::Seed> seeds = {{all[1], Tensor::full(all[1].shape(), DType::f64, 1)},
                                           {all[2], Tensor::full(all[2].shape(), DType::f64, 1)}};
    tape.backward(seeds);
    const Tensor g = tape.grad(all[0]);
    CHECK(g.is_dense());
    for (int64_t c = 0; c < 7; ++c) {
      const int part = c < 2 ? 0 : c < 6 ? 1 : 2;
      CHECK(at(g, 2, c) == (part == unused ? 0 : part + 1));
    }
  }
}

TEST_CASE("tape: a part used twice, the source used beside its split, and no part used at all") {
  const auto f = [](const Tensors& x) {
    const auto part = split_columns(x[0], {2, 2, 3});
    const Tensor twice = add(sigmoid(part[0]), multiply(part[0], part[1]));
    split_columns(x[0], {3, 4});  // nobody asks for these
    return std::vector{twice, sigmoid(x[0]), part[1]};
  };
  CHECK(gradient_error(f, {random({3, 7}, 11)}) < 1e-7);
}

TEST_CASE("tape: nothing is recorded without a tape, while paused, or for untracked inputs") {
  Tape tape;
  const Tensor x = random({2, 3}, 12), leaf = tape.leaf(x);
  CHECK(sigmoid(leaf).slot == kUntracked);
  const Tape::Recording recording(tape);
  CHECK(Tape::recording() == &tape);
  sigmoid(x);
  {
    const Tape::Paused pause;
    CHECK(sigmoid(leaf).slot == kUntracked);
  }
  CHECK(tape.size() == 0);
  CHECK(sigmoid(leaf).slot != kUntracked);
  CHECK(tape.size() == 1);
  CHECK_THROWS_AS(tape.backward(x, x), ShapeError);
  CHECK_THROWS_AS(tape.backward(leaf, random({3, 2}, 1)), ShapeError);
}

TEST_CASE("tape: records are dropped as they run, and with them all memory but the gradients") {
  const Tensor x = random({64, 8}, 13), seed = random({64, 8}, 14);
  const size_t live = BufferPool::local().live_bytes();
  Tape tape;
  auto all = record(tape, x, [](const Tensor& leaf) { return std::vector{sigmoid(sigmoid(sigmoid(leaf)))}; });
  CHECK(tape.size() == 3);
  CHECK(tape.kept_bytes() == 3 * x.bytes());
  tape.backward(all[1], seed);
  CHECK(tape.size() == 0);
  CHECK(tape.kept_bytes() == 0);
  all.resize(1);
  CHECK(BufferPool::local().live_bytes() == live + x.bytes());
}

TEST_CASE("tape: kept bytes count a buffer once and parameters never") {
  const Tensor x = random({5, 8}, 15);
  std::vector<double> memory(8, 1.0);
  Tensor weight = Tensor::view_of(std::span(memory), {8});
  weight.slot = parameter_slot(0);
  Tape tape;
  const auto all = record(tape, x, [&](const Tensor& leaf) {
    const auto part = split_columns(leaf, {4, 4});
    return std::vector{multiply(part[0], part[1]), multiply(leaf, leaf), rms_norm(leaf, weight, 1e-5)};
  });
  CHECK(tape.kept_bytes() == x.bytes() + 5 * 8);  // x, and one rstd a row
}

TEST_CASE("tape: a parameter's first gradient overwrites, later ones add, unreached ones become zero") {
  const Poison poison;
  const Tensor x = random({3, 4}, 16), values = random({3, 2, 4}, 17);
  const Tensor slab = Tensor::empty({3, 2, 4}, DType::f64);
  Tensors weight;
  ParamGrads grads;
  for (int i = 0; i < 3; ++i) {
    weight.push_back(Tensor::view_of(values.row_range(2 * i, {2, 4}).raw(), {2, 4}, DType::f64, 4));
    weight.back().slot = parameter_slot(i);
    grads.views.push_back(slab.row_range(2 * i, {2, 4}));
  }
  grads.reset();
  const Tensor g = random({3, 2}, 18);
  const auto backward = [&] {
    Tape tape;
    const auto all = record(tape, x, [&](const Tensor& leaf) {
      return std::vector{add(linear(leaf, weight[0]), scale(linear(leaf, weight[2]), 2))};
    });
    tape.backward(all[1], g);
  };
  CHECK_THROWS_WITH_AS(backward(), doctest::Contains("nowhere to put its gradient"), ShapeError);
  ParamGrads::current = &grads;
  backward();
  const Tensor once = slab.clone();
  backward();
  grads.zero_unwritten();
  ParamGrads::current = nullptr;
  CHECK(max_diff(grads.views[0], scale(once.row_range(0, {2, 4}), 2)) < 1e-13);
  CHECK(max_diff(once.row_range(4, {2, 4}), scale(once.row_range(0, {2, 4}), 2)) < 1e-13);
  CHECK(max_abs(grads.views[1]) == 0);
  double expected = 0;
  for (int64_t r = 0; r < 3; ++r) expected += at(g, r, 1) * at(x, r, 2);
  CHECK(at(once, 1, 2) == doctest::Approx(expected));
}
