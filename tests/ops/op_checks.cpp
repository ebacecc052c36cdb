#include "ops/op_checks.h"

#include <doctest/doctest.h>

#include "autodiff/meter.h"
#include "kernels/parallel.h"

namespace effllm::test {
namespace {

struct ThreadsRestored {
  int before = threads();
  ~ThreadsRestored() { set_threads(before); }
};

bool tracked(const Tensor& t) { return t.defined() && is_float(t.dtype()); }

// What a recorded forward pass kept and cost, and the shapes it made.
struct Account {
  size_t kept;
  Cost cost;
  std::vector<Shape> shapes;
};

Account account(const Function& f, const Tensors& inputs) {
  Tape tape;
  const Meter meter;
  Tensors leaves;
  for (const Tensor& t : inputs) leaves.push_back(tracked(t) ? tape.leaf(t) : t);
  const Tape::Recording recording(tape);
  Account a{};
  const Tensors y = f(leaves);
  for (const Tensor& t : y) a.shapes.push_back(t.shape());
  a.kept = tape.kept_bytes();
  a.cost = meter.total;
  return a;
}

void expect_meta_agrees(const Function& f, const Tensors& inputs) {
  const Account real = account(f, inputs);
  const MetaMode on;
  Tensors shapes;
  for (const Tensor& t : inputs) shapes.push_back(t.defined() ? Tensor::empty(t.shape(), t.dtype()) : t);
  const Account meta = account(f, shapes);
  CHECK(meta.kept == real.kept);
  CHECK(meta.shapes == real.shapes);
  CHECK(meta.cost.forward_flops == real.cost.forward_flops);
  CHECK(meta.cost.backward_flops == real.cost.backward_flops);
  CHECK(meta.cost.forward_bytes == real.cost.forward_bytes);
  CHECK(meta.cost.backward_bytes == real.cost.backward_bytes);
}

// Every input with a gradient that is there before (a second use), then every input tracked alone.
void expect_sinks_agree(const Function& f, const Tensors& inputs) {
  const auto twice = [&](const Tensors& x) {
    Tensors y = f(x), more = f(x);
    y.insert(y.end(), more.begin(), more.end());
    return y;
  };
  CHECK(gradient_error(twice, inputs) < 1e-7);
  Tensors all = outputs_and_gradients(f, inputs);
  const auto outputs = all.size() - static_cast<size_t>(std::count_if(inputs.begin(), inputs.end(), tracked));
  for (size_t i = 0, g = outputs; i < inputs.size(); ++i) {
    if (!tracked(inputs[i])) continue;
    const auto one = [&](const Tensors& x) {
      Tensors mixed = inputs;
      mixed[i] = x[0];
      return f(mixed);
    };
    CAPTURE(i);
    CHECK(max_diff(outputs_and_gradients(one, {inputs[i]}).back(), all[g++]) < 1e-12);
  }
}

}  // namespace

Tensors inputs_as(const Tensors& inputs, DType type) {
  Tensors x;
  for (const Tensor& t : inputs) x.push_back(tracked(t) ? to_dtype(t, type) : t);
  return x;
}

Tensors outputs_and_gradients(const Function& f, const Tensors& inputs) {
  Tape tape;
  Tensors leaves, results;
  for (const Tensor& t : inputs) leaves.push_back(tracked(t) ? tape.leaf(t) : t);
  {
    const Tape::Recording recording(tape);
    results = f(leaves);
  }
  std::vector<Tape::Seed> seeds;
  for (size_t o = 0; o < results.size(); ++o)
    seeds.push_back({results[o], random(results[o].shape(), 100 + o, results[o].dtype())});
  tape.backward(seeds);
  for (const Tensor& t : leaves)
    if (tracked(t)) {
      const Tensor g = tape.grad(t);
      results.push_back(g.defined() ? g : Tensor::zeros(t.shape(), t.dtype()));
    }
  return results;
}

void expect_sound(const Function& f, const Tensors& inputs) {
  const Poison poison;
  const ThreadsRestored restored;
  set_threads(1);  // hundreds of tiny runs
  CHECK(gradient_error(f, inputs) < 1e-7);
  expect_sinks_agree(f, inputs);
  expect_meta_agrees(f, inputs);
  const auto exact = outputs_and_gradients(f, inputs_as(inputs_as(inputs, DType::f32), DType::f64));
  const auto near = outputs_and_gradients(f, inputs_as(inputs, DType::f32));
  REQUIRE(near.size() == exact.size());
  for (size_t i = 0; i < exact.size(); ++i) {
    CAPTURE(i);
    CHECK(max_diff(to_dtype(near[i], DType::f64), to_dtype(exact[i], DType::f64)) <
          2e-5 * std::max(1.0, max_abs(exact[i])));
  }
}

void expect_same_bits_on_threads(const Function& f, const Tensors& inputs) {
  const Poison poison;
  const auto x = inputs_as(inputs, DType::f32);
  const ThreadsRestored restored;
  const auto expect_same = [](const Tensors& a, const Tensors& b) {
    REQUIRE(a.size() == b.size());
    for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(a[i], b[i]));
  };
  set_threads(1);
  const auto one = outputs_and_gradients(f, x);
  for (int n : {2, 3}) {
    CAPTURE(n);
    set_threads(n);
    expect_same(one, outputs_and_gradients(f, x));
  }
  Tensors inside;
  run_workers(1, [&](int) { inside = outputs_and_gradients(f, x); });
  expect_same(one, inside);
}

}  // namespace effllm::test
