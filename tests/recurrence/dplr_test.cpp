#include "recurrence/dplr.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <tuple>

#include "autodiff/meter.h"
#include "kernels/parallel.h"
#include "recurrence/delta.h"
#include "recurrence/reference_dplr.h"
#include "support/tensors.h"

using namespace effllm;
using test::at;
using test::max_diff;
using test::put;
using test::random;
using test::same_bits;
using test::tokens;

namespace {

constexpr int64_t kTokens = 13;
constexpr Decay kDecays[] = {Decay::none, Decay::scalar, Decay::key};

Tensor documents() {
  const int64_t numbers[] = {0, 0, 0, 1, 1, 1, 1, 2, 3, 3, 3, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2};
  const Tensor t = Tensor::dense({2, kTokens}, DType::i64);
  std::copy(std::begin(numbers), std::end(numbers), t.data<int64_t>());
  return t;
}

template <class F>
Tensor mapped(const Tensor& x, const F& f) {
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c) put(x, r, c, f(at(x, r, c)));
  return x;
}

// a and b of length about 0.8, so that b a^T is no more than a contraction.
struct Inputs {
  Tensor q, k, v, a, b, log_decay, state0;
  DplrOptions options;

  Inputs(Decay decay, int64_t dk, int64_t dv, int64_t steps = kTokens, int64_t batch = 2, int64_t h = 2) {
    options = {.heads = h, .decay = decay};
    const double length = 0.8 / std::sqrt(static_cast<double>(dk));
    q = random({batch, steps, h * dk}, 1);
    k = random({batch, steps, h * dk}, 2);
    v = random({batch, steps, h * dv}, 3);
    a = random({batch, steps, h * dk}, 4, DType::f64, length);
    b = random({batch, steps, h * dk}, 5, DType::f64, length);
    if (decay != Decay::none)
      log_decay = mapped(random({batch, steps, decay == Decay::key ? h * dk : h}, 6),
                         [](double x) { return -0.5 * std::abs(x); });
    state0 = random({batch, h, dk, dv}, 7);
  }
  std::vector<Tensor> list() const { return {q, k, v, a, b, log_decay, state0}; }
  DplrResult run(int64_t from, int64_t to, const Tensor& state) const {
    const auto cut = [&](const Tensor& x) { return x.defined() ? tokens(x, from, to) : x; };
    return dplr(cut(q), cut(k), cut(v), cut(a), cut(b), cut(log_decay), state, {}, options);
  }
  DplrResult reference(const Tensor& segments = {}) const {
    return reference_dplr(q, k, v, a, b, log_decay, state0, segments, options);
  }
  Inputs single() const {
    Inputs f32 = *this;
    for (Tensor* t : {&f32.q, &f32.k, &f32.v, &f32.a, &f32.b, &f32.log_decay, &f32.state0})
      if (t->defined()) *t = test::to_dtype(*t, DType::f32);
    return f32;
  }
};

test::Function both_results(const DplrOptions& options, const Tensor& segments = {}) {
  return [=](const std::vector<Tensor>& x) {
    const DplrResult r = dplr(x[0], x[1], x[2], x[3], x[4], x[5], x[6], segments, options);
    return std::vector{r.o, r.state};
  };
}

std::vector<Tensor> everything(const Inputs& in, const Tensor& segments) {
  Tape tape;
  const Tape::Recording recording(tape);
  std::vector<Tensor> x;
  for (const Tensor& t : in.list()) x.push_back(t.defined() ? tape.leaf(t) : t);
  const DplrResult r = dplr(x[0], x[1], x[2], x[3], x[4], x[5], x[6], segments, in.options);
  const DType type = in.q.dtype();
  const Tape::Seed seeds[] = {{r.o, random(r.o.shape(), 11, type)}, {r.state, random(r.state.shape(), 12, type)}};
  tape.backward(seeds);
  std::vector<Tensor> all{r.o, r.state};
  for (const Tensor& t : x)
    if (t.defined()) all.push_back(tape.grad(t));
  return all;
}

}  // namespace

TEST_CASE("dplr: the whole, any split and single steps are the reference loop") {
  const test::Poison poison;
  for (Decay decay : kDecays)
    for (const auto& [dk, dv] : {std::tuple{3, 5}, {16, 24}, {70, 65}, {1, 33}}) {
      CAPTURE(static_cast<int>(decay));
      CAPTURE(dk);
      const Inputs in(decay, dk, dv);
      const DplrResult whole = in.run(0, kTokens, in.state0), reference = in.reference();
      const double scale = 1 + test::max_abs(reference.o);
      CHECK(max_diff(whole.o, reference.o) < 1e-13 * scale);
      CHECK(max_diff(whole.state, reference.state) < 1e-13 * scale);
      for (int64_t cut = 1; cut < kTokens; ++cut) {
        const DplrResult first = in.run(0, cut, in.state0), second = in.run(cut, kTokens, first.state);
        CHECK(same_bits(first.o, tokens(whole.o, 0, cut)));
        CHECK(max_diff(second.o, tokens(whole.o, cut, kTokens)) < 1e-13 * scale);
        CHECK(max_diff(second.state, whole.state) < 1e-13 * scale);
      }
      const Inputs f32 = in.single();
      const DplrResult single = f32.run(0, kTokens, f32.state0);
      for (int64_t cut = 1; cut < kTokens; ++cut)
        CHECK(same_bits(f32.run(0, cut, f32.state0).o, tokens(single.o, 0, cut)));
      Tensor state = in.state0;
      for (int64_t t = 0; t < kTokens; ++t) {
        const DplrResult one = in.run(t, t + 1, state);
        CHECK(max_diff(one.o, tokens(whole.o, t, t + 1)) < 1e-13 * scale);
        state = one.state;
      }
      const Tensor zero = Tensor::zeros(in.state0.shape(), DType::f64);
      CHECK(same_bits(in.run(0, kTokens, {}).o, in.run(0, kTokens, zero).o));
    }
}

TEST_CASE("dplr: with a = k and b = -beta * decayed k it is the delta rule") {
  Inputs in(Decay::scalar, 6, 5, 20);
  const Tensor unit = in.a, beta = mapped(random({2, 20, 2}, 8), [](double x) { return 2 / (1 + std::exp(-x)); });
  const DeltaResult want = delta(in.q, unit, in.v, beta, in.log_decay, in.state0, {}, {.heads = 2});
  in.k = in.k.clone();
  for (int64_t r = 0; r < in.k.rows(); ++r)
    for (int64_t c = 0; c < in.k.cols(); ++c) {
      const double x = at(beta, r, c / 6) * at(unit, r, c);
      put(in.k, r, c, x);
      put(in.b, r, c, -x * std::exp(at(in.log_decay, r, c / 6)));
    }
  const DplrResult got = in.run(0, 20, in.state0);
  CHECK(max_diff(got.o, want.o) < 1e-13 * (1 + test::max_abs(want.o)));
  CHECK(max_diff(got.state, want.state) < 1e-13 * (1 + test::max_abs(want.state)));
}

TEST_CASE("dplr: gradients through the initial and the final state, with documents and without") {
  const test::Poison poison;
  for (Decay decay : kDecays)
    for (const Tensor& segments : {Tensor(), documents()})
      for (int64_t chunk : {0, 4}) {
        CAPTURE(static_cast<int>(decay));
        CAPTURE(segments.defined());
        CAPTURE(chunk);
        Inputs in(decay, 2, 3);
        in.options.chunk = chunk;
        CHECK(test::gradient_error(both_results(in.options, segments), in.list()) < 1e-7);
        auto no_state = in.list();
        no_state[6] = Tensor();
        CHECK(test::gradient_error(both_results(in.options, segments), no_state) < 1e-7);
      }
}

TEST_CASE("dplr: gradients where one result alone, or one input alone, is of interest") {
  const test::Poison poison;
  for (Decay decay : kDecays) {
    CAPTURE(static_cast<int>(decay));
    const Inputs in(decay, 2, 2);
    for (int result : {0, 1}) {
      const auto one_result = [&](const std::vector<Tensor>& x) {
        const DplrResult r = dplr(x[0], x[1], x[2], x[3], x[4], x[5], x[6], documents(), in.options);
        return std::vector{result == 0 ? r.o : r.state};
      };
      CHECK(test::gradient_error(one_result, in.list()) < 1e-7);
    }
    const std::vector<Tensor> all = in.list();
    for (size_t i = 0; i < all.size(); ++i) {
      if (!all[i].defined()) continue;
      const auto one_input = [&](const std::vector<Tensor>& x) {
        auto y = all;
        y[i] = x[0];
        return both_results(in.options)(y);
      };
      CHECK(test::gradient_error(one_input, {all[i]}) < 1e-7);
    }
    const auto shared = [&](const std::vector<Tensor>& x) {
      return both_results(in.options)({x[0], x[0], x[0], x[0], x[0], x[1], x[2]});
    };
    CHECK(test::gradient_error(shared, {in.a, in.log_decay, in.state0}) < 1e-7);
  }
}

TEST_CASE("dplr: a gradient over many anchors, and with strong decays") {
  for (Decay decay : kDecays) {
    const Inputs in(decay, 2, 3, 150, 1, 1);
    CHECK(test::gradient_error(both_results(in.options), in.list()) < 1e-7);
    if (decay == Decay::none) continue;
    Inputs strong(decay, 4, 6, 30);
    const double kinds[] = {0, -40, -1e4, -0.1, -std::numeric_limits<double>::infinity(), 0, 0, -5};
    for (int64_t r = 0; r < strong.log_decay.rows(); ++r)
      for (int64_t c = 0; c < strong.log_decay.cols(); ++c) put(strong.log_decay, r, c, kinds[(r * 5 + c * 3) % 8]);
    for (const Tensor& t : everything(strong, {})) CHECK(max_diff(t, t) == 0);  // no NaN
    const DplrResult reference = strong.reference();
    CHECK(max_diff(strong.run(0, 30, strong.state0).o, reference.o) < 1e-13 * (1 + test::max_abs(reference.o)));
    mapped(strong.log_decay, [](double x) { return std::isinf(x) ? -1e4 : x; });
    CHECK(test::gradient_error(both_results(strong.options), strong.list()) < 1e-7);
  }
}

TEST_CASE("dplr: packed documents are each alone, the chunk and the threads change nothing") {
  const int before = threads();
  for (Decay decay : kDecays) {
    Inputs in(decay, 4, 6);
    const DplrResult packed = dplr(in.q, in.k, in.v, in.a, in.b, in.log_decay, in.state0, documents(), in.options),
                     reference = in.reference(documents());
    CHECK(max_diff(packed.o, reference.o) < 1e-13 * (1 + test::max_abs(reference.o)));
    CHECK(max_diff(packed.state, reference.state) < 1e-13 * (1 + test::max_abs(reference.state)));
    const std::vector<Tensor> usual = everything(in, documents());
    // Row 1 begins with a start: nothing reaches its initial state.
    CHECK(test::max_abs(usual.back().row_range(8, {1, 2, 4, 6})) == 0);
    CHECK(test::max_abs(usual.back().row_range(0, {1, 2, 4, 6})) > 0);
    for (int n : {2, 3}) {
      set_threads(n);
      const std::vector<Tensor> more = everything(in, documents());
      for (size_t i = 0; i < usual.size(); ++i) CHECK(same_bits(usual[i], more[i]));
    }
    set_threads(before);
    for (int64_t chunk : {1, 3, 100}) {
      in.options.chunk = chunk;
      const std::vector<Tensor> other = everything(in, documents());
      for (size_t i = 0; i < usual.size(); ++i)
        CHECK(max_diff(usual[i], other[i]) < 1e-12 * (1 + test::max_abs(usual[i])));
    }
  }
}

TEST_CASE("dplr: f32 is near f64; costs and shapes that don't fit") {
  for (Decay decay : kDecays) {
    const Inputs in(decay, 32, 48, 100, 1);
    const std::vector<Tensor> want = everything(in, {}), got = everything(in.single(), {});
    for (size_t i = 0; i < want.size(); ++i) {
      CAPTURE(i);
      CHECK(max_diff(test::to_dtype(got[i], DType::f64), want[i]) < 1e-4 * (1 + test::max_abs(want[i])));
    }
  }
  const Inputs in(Decay::key, 4, 6);
  const auto with = [&](size_t i, const Tensor& t) {
    auto x = in.list();
    x[i] = t;
    return both_results(in.options)(x);
  };
  {
    Meter meter;
    const MetaMode meta;
    const auto shape = [](const Tensor& t) { return Tensor::empty(t.shape(), DType::f32); };
    dplr(shape(in.q), shape(in.k), shape(in.v), shape(in.a), shape(in.b), shape(in.log_decay), {}, {}, in.options);
    CHECK(meter.total.forward_flops == 8.0 * 4 * 6 * 2 * 2 * kTokens);
    CHECK(meter.total.backward_flops == 3 * meter.total.forward_flops);
  }
  CHECK_THROWS_WITH_AS(with(3, random({2, kTokens, 6}, 1)), doctest::Contains("a[2, 13, 6]"), ShapeError);
  CHECK_THROWS_WITH_AS(with(5, random({2, kTokens, 2}, 1)), doctest::Contains("it should be [2, 13, 8]"), ShapeError);
  CHECK_THROWS_AS(with(4, Tensor()), ShapeError);
  CHECK_THROWS_AS(with(6, random({2, 2, 6, 4}, 1)), ShapeError);
  CHECK_THROWS_AS(with(2, test::to_dtype(in.v, DType::f32)), ShapeError);
}
