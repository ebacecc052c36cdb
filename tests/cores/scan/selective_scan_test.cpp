#include "cores/scan/selective_scan.h"

#include "kernels/rows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

struct Sizes {
  int64_t batch, tokens, columns, states;
};

// Step sizes around `step`, decay rates around 1.
SelectiveScanInputs inputs(const Sizes& s, double step = 0.5, DType type = DType::f64) {
  SelectiveScanInputs in;
  in.x = random({s.batch, s.tokens, s.columns}, 1, type);
  in.delta = random({s.batch, s.tokens, s.columns}, 2, type);
  mapped(in.delta, [&](double x) { return step * std::exp(x); });
  in.a_log = random({s.columns, s.states}, 3, type);
  in.b = random({s.batch, s.tokens, s.states}, 4, type);
  in.c = random({s.batch, s.tokens, s.states}, 5, type);
  in.skip = random({s.columns}, 6, type);
  in.state0 = random({s.batch, s.states, s.columns}, 7, type);
  return in;
}

// The recurrence as loops over tokens in f64, from inputs of either float type; no gradients are recorded.
SelectiveScanResult reference_selective_scan(const SelectiveScanInputs& in) {
  const int64_t batch = in.x.dim(0), tokens = in.x.dim(1), columns = in.x.cols(), states = in.b.cols();
  const Tensor y = Tensor::zeros(in.x.shape(), DType::f64), last = Tensor::empty({batch, states, columns}, DType::f64);
  const Tensor skip = in.skip.defined() ? in.skip.reshape({1, columns}) : Tensor();
  for (int64_t s = 0; s < batch; ++s)
    for (int64_t k = 0; k < columns; ++k)
      for (int64_t n = 0; n < states; ++n) {
        double h = in.state0.defined() ? at(in.state0, s * states + n, k) : 0;
        for (int64_t t = 0; t < tokens; ++t) {
          const int64_t row = s * tokens + t;
          if (starts(in.segments, s, t)) h = 0;
          const double delta = at(in.delta, row, k), x = at(in.x, row, k);
          h = std::exp(-delta * std::exp(at(in.a_log, k, n))) * h + delta * x * at(in.b, row, n);
          double& out = y.view<double>().row(row)[k];
          out += at(in.c, row, n) * h + (n == 0 && skip.defined() ? at(skip, 0, k) * x : 0);
        }
        last.view<double>().row(s * states + n)[k] = h;
      }
  return {y, last};
}

Tensors list(const SelectiveScanInputs& in) {
  return {in.x, in.delta, in.a_log, in.b, in.c, in.skip, in.state0, in.segments};
}
SelectiveScanInputs of(const Tensors& x) { return {x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]}; }
SelectiveScanInputs as(const SelectiveScanInputs& in, DType type) { return of(inputs_as(list(in), type)); }

// Starts in the middle of spans, at their ends and, where asked, at the first token.
Tensor documents(const Sizes& s, bool at_once) {
  const Tensor t = Tensor::zeros({s.batch, s.tokens}, DType::i64);
  for (int64_t b = 0; b < s.batch; ++b) {
    int64_t count = 0;
    for (int64_t i = 0; i < s.tokens; ++i) {
      count += i == 0 ? at_once : i % 16 == 0 ? b == 1 : (i + b) % 7 == 3;
      t.view<int64_t>().row(b)[i] = count;
    }
  }
  return t;
}

Tensors of_list(const Tensors& x) {
  const SelectiveScanResult r = selective_scan(of(x));
  return {r.y, r.last};
}

}  // namespace

TEST_CASE("selective_scan: equals its recurrence at all sizes, with and without state, skip and documents") {
  const Poison poison;
  for_each_isa([] {
    for (const Sizes& s : {Sizes{1, 1, 1, 1}, {2, 3, 5, 4}, {2, 17, 33, 16}, {1, 40, 8, 3}, {1, 5, 515, 2}})
      for (bool extras : {true, false}) {
        CAPTURE(s.tokens);
        SelectiveScanInputs in = inputs(s);
        if (!extras) in.skip = in.state0 = Tensor();
        if (extras && s.tokens > 1) in.segments = documents(s, s.tokens == 3);
        const SelectiveScanResult want = reference_selective_scan(in), got = selective_scan(in);
        CHECK(max_diff(got.y, want.y) < 1e-12);
        CHECK(max_diff(got.last, want.last) < 1e-12);
        const SelectiveScanResult near = selective_scan(as(in, DType::f32));
        CHECK(max_diff(near.y, want.y) < 3e-5 * std::max(1.0, max_abs(want.y)));
      }
  });
}

TEST_CASE("selective_scan: the full Jacobian, through spans, documents and states") {
  for (bool at_once : {false, true}) {
    const Sizes s{2, 18, 3, 2};
    SelectiveScanInputs in = inputs(s);
    in.segments = documents(s, at_once);
    expect_sound(of_list, list(in));
    in.segments = in.skip = in.state0 = Tensor();
    expect_sound(of_list, list(in));
  }
}

TEST_CASE("selective_scan: gradients where lanes are full, where one tensor is b and c, and the same for any threads") {
  const Sizes s{2, 4, 18, 17};
  const SelectiveScanInputs in = inputs(s);
  CHECK(gradient_error(of_list, list(in)) < 1e-7);
  const auto shared = [&](const Tensors& x) { return of_list({x[0], x[0], x[1], x[2], x[2], {}, {}, {}}); };
  CHECK(gradient_error(shared, {in.delta, in.a_log, in.b}) < 1e-7);
  expect_same_bits_on_threads(of_list, list(inputs({3, 20, 1030, 5})));
}

TEST_CASE("selective_scan: every instruction set has the same gradients") {
  const Sizes s{1, 35, 37, 18};
  SelectiveScanInputs in = inputs(s, 0.1);
  in.segments = documents(s, false);
  Tensors first;
  for_each_isa([&] {
    const auto all = outputs_and_gradients(of_list, list(in));
    if (first.empty()) first = all;
    for (size_t i = 0; i < all.size(); ++i) {
      CAPTURE(i);
      CHECK(max_diff(all[i], first[i]) < 1e-12 * std::max(1.0, max_abs(first[i])));
    }
  });
}

TEST_CASE("selective_scan: whole, split and token by token are the same") {
  const Sizes s{2, 37, 9, 4};
  const SelectiveScanInputs in = inputs(s);
  const auto part = [&](int64_t from, int64_t to, const Tensors& state) {
    return of_list({tokens(in.x, from, to), tokens(in.delta, from, to), in.a_log, tokens(in.b, from, to),
                    tokens(in.c, from, to), in.skip, state[0], Tensor()});
  };
  expect_same_in_parts(part, {in.state0}, s.tokens, 1e-13);
}

TEST_CASE("selective_scan: steps from nothing to forgetting all at once are exact, f32 too") {
  for (double step : {1e-6, 1e-3, 10.0, 1e4, 1e30}) {
    CAPTURE(step);
    const SelectiveScanInputs in = inputs({1, 33, 7, 5}, step, DType::f32);
    const SelectiveScanResult want = reference_selective_scan(in), got = selective_scan(in);
    CHECK(max_diff(got.y, want.y) < 2e-6 * std::max(1.0, max_abs(want.y)));
    for (const Tensor& g : outputs_and_gradients(of_list, list(in))) CHECK(std::isfinite(max_abs(g)));
  }
}

TEST_CASE("selective_scan: decays of f32 are right to two parts in ten millions") {
  // One token, b = 0: the last state is the decay.
  SelectiveScanInputs in = inputs({1, 1, 4096, 1}, 1, DType::f32);
  fill(in.b, 0);
  fill(in.a_log, 0);
  fill(in.state0, 1);
  for (int64_t c = 0; c < 4096; ++c) put(in.delta, 0, c, 1e-4 * c);
  const Tensor last = selective_scan(in).last;
  double worst = 0;
  for (int64_t c = 0; c < 4096; ++c)
    worst = std::max(worst, std::abs(at(last, 0, c) / std::exp(-at(in.delta, 0, c)) - 1));
  CHECK(worst < 2e-7);
}

TEST_CASE("selective_scan: inputs may be columns inside wider rows") {
  const SelectiveScanInputs in = inputs({2, 19, 21, 5});
  for_each_isa([&] {
    const auto inside = [](const Tensor& t) {  // NaN on both sides
      const int64_t n = t.cols();
      const Tensor wide = Tensor::full(t.shape().with(-1, n + 5), t.dtype(), std::nan(""));
      copy(t, wide.columns(3, n));
      return wide.columns(3, n);
    };
    const SelectiveScanInputs views = {inside(in.x), inside(in.delta), in.a_log,          inside(in.b),
                                       inside(in.c), in.skip,          inside(in.state0), {}};
    const auto dense = outputs_and_gradients(of_list, list(in)), strided = outputs_and_gradients(of_list, list(views));
    for (size_t i = 0; i < dense.size(); ++i) CHECK(same_bits(dense[i], strided[i]));
  });
}

TEST_CASE("selective_scan: refuses shapes that don't fit") {
  SelectiveScanInputs in = inputs({2, 3, 4, 5});
  in.c = random({2, 3, 4}, 1);
  CHECK_THROWS_WITH_AS(selective_scan(in), doctest::Contains("c[2, 3, 4]"), ShapeError);
  in = inputs({2, 3, 4, 5});
  in.state0 = random({2, 4, 5}, 1);
  CHECK_THROWS_WITH_AS(selective_scan(in), doctest::Contains("[2, 5, 4]"), ShapeError);
  in = inputs({2, 3, 4, 5});
  in.skip = random({5}, 1);
  CHECK_THROWS_AS(selective_scan(in), ShapeError);
}
