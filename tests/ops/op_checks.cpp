#include "ops/op_checks.h"

#include "autodiff/meter.h"

namespace effllm::test {
namespace {

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

void expect_near(const Tensors& a, const Tensors& b, double bound) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(max_diff(a[i], b[i]) <= bound * (1 + max_abs(b[i])));
  }
}

void expect_same_bits(const Tensors& a, const Tensors& b) {
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    CAPTURE(i);
    CHECK(same_bits(a[i], b[i]));
  }
}

void expect_gradients(const Function& f, const Tensors& inputs) {
  CHECK(gradient_error(f, inputs) < 1e-7);
  for (size_t result = 0; result < f(inputs).size(); ++result) {
    CAPTURE(result);
    CHECK(gradient_error([&](const Tensors& x) { return Tensors{f(x)[result]}; }, inputs) < 1e-7);
  }
  for (size_t input = 0; input < inputs.size(); ++input) {
    if (!tracked(inputs[input])) continue;
    CAPTURE(input);
    const auto alone = [&](const Tensors& x) {
      Tensors y = inputs;
      y[input] = x[0];
      return f(y);
    };
    CHECK(gradient_error(alone, {inputs[input]}) < 1e-7);
  }
}

void expect_same_in_parts(const Part& run, const Tensors& state, int64_t n, double bound) {
  const Tensors whole = run(0, n, state);
  // From `from` on, in pieces of so many tokens.
  const auto go_on = [&](int64_t from, int64_t piece, Tensors now) {
    for (int64_t to; from < n; from = to) {
      to = std::min(from + piece, n);
      CAPTURE(from);
      CAPTURE(to);
      now = run(from, to, now);
      CHECK(max_diff(now[0], tokens(whole[0], from, to)) <= bound * (1 + max_abs(whole[0])));
      now.erase(now.begin());
    }
    expect_near(now, {whole.begin() + 1, whole.end()}, bound);
  };
  for (int64_t cut = 1; cut < n; ++cut) {
    Tensors first = run(0, cut, state);
    CHECK(max_diff(first[0], tokens(whole[0], 0, cut)) <= bound * (1 + max_abs(whole[0])));
    go_on(cut, n, {first.begin() + 1, first.end()});
  }
  for (int64_t piece : {1, 15, 16, 17})
    if (piece < n) go_on(0, piece, state);
}

void expect_sound(const Function& f, const Tensors& inputs) {
  const Poison poison;
  const Threads one(1);  // hundreds of tiny runs
  CHECK(gradient_error(f, inputs) < 1e-7);
  expect_sinks_agree(f, inputs);
  expect_meta_agrees(f, inputs);
  const auto exact = outputs_and_gradients(f, inputs_as(inputs_as(inputs, DType::f32), DType::f64));
  const auto near = outputs_and_gradients(f, inputs_as(inputs, DType::f32));
  expect_near(near, exact, 1e-5);
}

void expect_same_bits_on_threads(const Function& f, const Tensors& inputs) {
  const Poison poison;
  const auto x = inputs_as(inputs, DType::f32);
  const Threads restored(1);
  const auto one = outputs_and_gradients(f, x);
  for (int n : {2, 3}) {
    CAPTURE(n);
    set_threads(n);
    expect_same_bits(outputs_and_gradients(f, x), one);
  }
  Tensors inside;
  run_workers(1, [&](int) { inside = outputs_and_gradients(f, x); });
  expect_same_bits(inside, one);
}

}  // namespace effllm::test
