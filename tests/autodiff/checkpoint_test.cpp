#include "autodiff/checkpoint.h"

#include <doctest/doctest.h>

#include <optional>
#include <thread>

#include "autodiff/meter.h"
#include "ops/arithmetic.h"
#include "ops/columns.h"
#include "ops/linear.h"
#include "ops/pointwise.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// A small model with one parameter [8, 8]; its slab of gradients is in use while this lives.
struct Model {
  Model() {
    weight = Tensor::view_of(values.raw(), {8, 8}, DType::f32, 8);
    weight.slot = parameter_slot(0);
    grads.views = {gradient};
    grads.reset();
    ParamGrads::current = &grads;
  }
  ~Model() { ParamGrads::current = nullptr; }
  Tensor block(const Tensor& x) const {
    return add(x, linear(pointwise(Pointwise::gelu, linear(sigmoid(x), weight)), weight));
  }

  Tensor values = random({8, 8}, 1, DType::f32), gradient = Tensor::empty({8, 8}, DType::f32), weight;
  ParamGrads grads;
};

// Of one input and one result.
Tensor again(std::function<Tensor(const Tensor&)> f, const Tensor& x) {
  return checkpoint([f = std::move(f)](const Tensors& in) { return Tensors{f(in[0])}; }, {x})[0];
}

struct Result {
  Tensor y, dx, dw;
  size_t kept;
};

Result train(bool recompute, bool track_input = true) {
  const Poison poison;
  const Model model;
  const auto f = [&](const Tensor& x) { return model.block(x); };
  Tape tape;
  const Tensor x = random({3, 8}, 2, DType::f32), leaf = track_input ? tape.leaf(x) : x;
  Result r;
  {
    const Tape::Recording recording(tape);
    r.y = leaf;
    for (int layer = 0; layer < 3; ++layer) r.y = recompute ? again(f, r.y) : f(r.y);
  }
  r.kept = tape.kept_bytes();
  tape.backward(r.y, random({3, 8}, 3, DType::f32));
  if (track_input) r.dx = tape.grad(leaf);
  r.dw = model.gradient.clone();
  return r;
}

}  // namespace

TEST_CASE("checkpoint: same values and gradients to the bit, less kept") {
  const Result plain = train(false), recomputed = train(true);
  CHECK(same_bits(plain.y, recomputed.y));
  CHECK(same_bits(plain.dx, recomputed.dx));
  CHECK(same_bits(plain.dw, recomputed.dw));
  CHECK(recomputed.kept == 3 * 3 * 8 * 4);  // the input of each block
  CHECK(recomputed.kept < plain.kept);
}

TEST_CASE("checkpoint: parameters get their gradients even where the input needs none") {
  const Result plain = train(false, false), recomputed = train(true, false);
  CHECK(same_bits(plain.dw, recomputed.dw));
  CHECK(max_abs(plain.dw) > 0);
}

TEST_CASE("checkpoint: gradients agree with differences") {
  const auto f = [](const Tensors& x) {
    return std::vector{again([](const Tensor& a) { return multiply(sigmoid(a), a); }, scale(x[0], 2))};
  };
  CHECK(gradient_error(f, {random({3, 4}, 4)}) < 1e-7);
}

TEST_CASE("checkpoint: a meta run counts and keeps what a real one does, and holds no more memory") {
  const auto f = [](const Tensor& a) { return multiply(sigmoid(a), a); };
  const auto kept = [&](const Tensor& x, double& flops) {
    Tape tape;
    const Meter meter;
    const Tape::Recording recording(tape);
    const size_t live = BufferPool::local().live_bytes();
    const Tensor y = again(f, again(f, tape.leaf(x)));
    flops = meter.total.forward_flops;
    CHECK(BufferPool::local().live_bytes() == live + 2 * x.bytes());
    return tape.kept_bytes();
  };
  double real_flops = 0, meta_flops = 0;
  const size_t real = kept(random({5, 8}, 5), real_flops);
  const MetaMode on;
  CHECK(kept(Tensor::empty({5, 8}, DType::f64), meta_flops) == real);
  CHECK(meta_flops == real_flops);
}

TEST_CASE("checkpoint: the second run counts as backward, once, whether backward runs or not") {
  const auto f = [](const Tensor& a) { return multiply(sigmoid(a), a); };
  const auto counted = [&](bool recompute, bool backward) {
    Tape tape;
    const Meter meter;
    const Tensor x = tape.leaf(random({5, 8}, 5));
    const Tape::Recording recording(tape);
    const Tensor y = recompute ? again(f, x) : f(x);
    if (backward) tape.backward(y, random({5, 8}, 6));
    return meter.total;
  };
  const Cost plain = counted(false, false);
  CHECK(plain.forward_flops > 0);
  for (const bool backward : {false, true}) {
    const Cost again = counted(true, backward);
    CHECK(again.forward_flops == plain.forward_flops);
    CHECK(again.backward_flops == plain.backward_flops + plain.forward_flops);
    CHECK(again.backward_bytes == plain.backward_bytes + plain.forward_bytes);
  }
}

TEST_CASE("checkpoint: on shapes alone backward takes what a real one takes") {
  const auto f = [](const Tensor& a) { return multiply(sigmoid(a), a); };
  const auto most = [&](bool meta) {
    size_t peak = 0;
    std::jthread([&] {
      std::optional<MetaMode> shapes;
      if (meta) shapes.emplace();
      const auto made = [&](uint64_t seed) {
        return meta ? Tensor::empty({50, 80}, DType::f64) : random({50, 80}, seed);
      };
      Tape tape;
      const Tensor x = tape.leaf(made(1));
      const Tape::Recording recording(tape);
      const Tensor y = again(f, again(f, x));
      tape.backward(y, made(2));
      peak = BufferPool::local().peak_bytes();
    }).join();
    return peak;
  };
  CHECK(most(true) == most(false));
}

TEST_CASE("checkpoint: several inputs and results have the gradients that they have without") {
  const RunAgain f = [](const Tensors& x) {
    const Tensors parts = split_columns(multiply(x[0], sigmoid(x[1])), {3, 5});
    return Tensors{sigmoid(parts[1]), parts[0], add(x[1], x[2])};
  };
  const Tensors in = {random({2, 8}, 1), random({2, 8}, 2), random({2, 8}, 3)};
  const auto results_of = [&](const RunAgain& g, size_t used) {
    Tape tape;
    Tensors x, y, all;
    for (const Tensor& t : in) x.push_back(tape.leaf(t));
    {
      const Tape::Recording recording(tape);
      y = g(x);
    }
    std::vector<Tape::Seed> seeds;
    for (size_t i = 0; i < used; ++i) seeds.push_back({y[i], random(y[i].shape(), 10 + i)});
    for (const Tensor& t : y) all.push_back(t.clone());
    tape.backward(seeds);
    for (const Tensor& t : x) all.push_back(tape.grad(t));
    return all;
  };
  for (const size_t used : {size_t{1}, size_t{2}, size_t{3}}) {
    const Tensors plain = results_of(f, used),
                  recomputed = results_of([&](const Tensors&x) { return checkpoint(f, x); }, used);
    REQUIRE(plain.size() == recomputed.size());
    for (size_t i = 0; i < plain.size(); ++i) {
      CAPTURE(i);
      REQUIRE(plain[i].defined() == recomputed[i].defined());
      if (plain[i].defined()) CHECK(same_bits(plain[i], recomputed[i]));
    }
  }
  CHECK_THROWS_AS(checkpoint(f, Tensors(kMostInputs + 1, in[0])), ShapeError);
}
