#include "cores/scan/fused_scan.h"

#include "cores/scan/reference_fused_scan.h"
#include "kernels/rows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr ScanForm kForms[] = {ScanForm::min_lstm, ScanForm::min_lstm_g, ScanForm::hgrn, ScanForm::rg_lru};

// The first row goes on with a document and has two more, the second begins with a start.
Tensor documents() { return integers({2, 6}, {0, 0, 1, 1, 2, 2, 1, 1, 1, 1, 2, 2}); }

// Between 0 and 0.9 times `scale`.
Tensor row(int64_t n, double scale = 1) {
  const Tensor t = Tensor::dense({n}, DType::f64);
  for (int64_t c = 0; c < n; ++c) t.data<double>()[c] = scale * 0.9 * static_cast<double>(c % 7) / 6;
  return t;
}

// x0, x1, x2, row, h0 of a form; undefined where it has none.
Tensors inputs(ScanForm f, const Shape& s, double scale = 1) {
  const double least = f == ScanForm::rg_lru ? 0.3 : 0;  // the root is steep near a = 1
  Tensor r = has_row(f) ? row(s[2]) : Tensor();
  for (int64_t c = 0; r.defined() && c < s[2]; ++c) r.data<double>()[c] += least;
  return {random(s, 1, DType::f64, scale), random(s, 2, DType::f64, scale),
          inputs_of(f) > 2 ? random(s, 3, DType::f64, scale) : Tensor(), r, random({s[0], s[2]}, 4)};
}

ScanResult call(ScanForm f, const Tensors& x, const Tensor& h0, const Tensor& segments) {
  return fused_scan(f, x[0], x[1], x[2], x[3], h0, segments);
}
// Of x0, x1, x2, row, h0.
Function states(ScanForm f) {
  return [f](const Tensors& x) { return Tensors{call(f, x, x[4], {}).h}; };
}

}  // namespace

TEST_CASE("fused_scan: the whole, any split and single steps are the reference loop") {
  const Poison poison;
  for (ScanForm f : kForms)
    for (double scale : {1.0, 30.0})
      for (int64_t width : {1, 21, 530}) {
        const auto x = inputs(f, {2, 6, width}, scale);
        for (const Tensor& segments : {Tensor(), documents()})
          for (const Tensor& h0 : {x[4], Tensor()}) {
            const ScanResult whole = call(f, x, h0, segments),
                             expected = reference_fused_scan(f, x[0], x[1], x[2], x[3], h0, segments);
            CHECK(max_diff(whole.h, expected.h) < 1e-12 * scale);
            CHECK(max_diff(whole.last, expected.last) < 1e-12 * scale);
          }
        const auto part = [&](int64_t from, int64_t to, const Tensors& state) {
          const ScanResult r =
              fused_scan(f, tokens(x[0], from, to), tokens(x[1], from, to), tokens(x[2], from, to), x[3], state[0]);
          return Tensors{r.h, r.last};
        };
        for (const Tensor& h0 : {x[4], Tensor()}) expect_same_in_parts(part, {h0}, 6, 1e-13);
        CHECK(same_bits(part(0, 3, {Tensor()})[0], tokens(call(f, x, {}, {}).h, 0, 3)));
      }
}

TEST_CASE("fused_scan: gradients, with documents and without, with a state and without") {
  for (ScanForm f : kForms)
    for (bool with_documents : {false, true})
      for (bool with_h0 : {false, true}) {
        auto x = inputs(f, {2, 6, 5});
        if (!with_h0) x[4] = Tensor();
        x.push_back(with_documents ? documents() : Tensor());
        CAPTURE(static_cast<int>(f));
        expect_sound(
            [f](const Tensors& in) {
              const ScanResult r = call(f, in, in[4], in[5]);
              return std::vector{r.h, r.last};
            },
            x);
      }
}

TEST_CASE("fused_scan: gradients where two inputs are one tensor") {
  const auto twice = [](const Tensors& x) {
    return std::vector{fused_scan(ScanForm::min_lstm_g, x[0], x[1], x[0], {}).h};
  };
  CHECK(gradient_error(twice, {random({2, 6, 5}, 4), random({2, 6, 5}, 5)}) < 1e-7);
}

TEST_CASE("fused_scan: the same bits on any number of threads") {
  for (ScanForm f : kForms) expect_same_bits_on_threads(states(f), inputs(f, {3, 40, 600}));
}

TEST_CASE("fused_scan: every instruction set and width, f32 near f64") {
  for (ScanForm f : kForms)
    for (int64_t width : {1, 15, 16, 17, 33, 515}) {
      const auto x = inputs(f, {1, 6, width}, 3);
      const Tensors exact = outputs_and_gradients(states(f), x);
      for_each_isa([&] {
        CAPTURE(width);
        CAPTURE(static_cast<int>(f));
        expect_near(outputs_and_gradients(states(f), inputs_as(x, DType::f32)), exact, 1e-5);
      });
    }
}

TEST_CASE("fused_scan: extremes stay finite and right, in f32 too") {
  const double far[] = {-1e4, -200, -90, -30, 0, 30, 90, 200, 1e4};
  constexpr int64_t kN = 81;
  for (ScanForm f : kForms) {
    const Tensor a = Tensor::dense({1, 2, kN}, DType::f64), b = a.clone(), u = random({1, 2, kN}, 1), r = row(kN);
    for (int64_t t = 0; t < 2; ++t)
      for (int64_t c = 0; c < kN; ++c) put(a, t, c, far[c / 9]), put(b, t, c, far[c % 9]);
    const bool two = inputs_of(f) == 2;
    const Tensors x = {a, two ? u : b, two ? Tensor() : u, has_row(f) ? r : Tensor(), random({1, kN}, 2)};
    const Tensors wide = outputs_and_gradients(states(f), x);
    expect_near(outputs_and_gradients(states(f), inputs_as(x, DType::f32)), wide, 2e-5);
    CHECK(std::isfinite(max_abs(wide[0])));
  }
}

TEST_CASE("fused_scan: minLSTM's gates share one unit of mass where both are nearly shut") {
  const auto full = [](double v) { return Tensor::full({1, 1, 1}, DType::f32, v); };
  const ScanResult r =
      fused_scan(ScanForm::min_lstm, full(-100), full(-102), full(0), {}, Tensor::full({1, 1}, DType::f32, 1));
  CHECK(at(r.h, 0, 0) == doctest::Approx(1 / (1 + std::exp(-2.0))).epsilon(1e-6));
}

TEST_CASE("fused_scan: RG-LRU near a = 1, where the slope of the root is bounded") {
  const auto full = [](double v) { return Tensor::full({1, 1, 1}, DType::f64, v); };
  const Tensor h0 = Tensor::full({1, 1}, DType::f64, 0.5);
  for (double rate : {1e-3, 1e-9, 1e-30, 0.0}) {
    CAPTURE(rate);
    Tape tape;
    const Tensor r = tape.leaf(full(0)), k = tape.leaf(Tensor::full({1}, DType::f64, rate)), u = full(2);
    Tensor h;
    {
      const Tape::Recording recording(tape);
      h = fused_scan(ScanForm::rg_lru, r, full(0), u, k, h0).h;
    }
    const double a = std::exp(-4 * rate), m = std::sqrt(-std::expm1(-8 * rate));
    CHECK(at(h, 0, 0) == doctest::Approx(a * 0.5 + m * 0.5 * 2).epsilon(1e-14));
    tape.backward(h, full(1));
    // d/d rate of a h + m s(0) u, with 1 / (2 m) no more than 1000.
    const double slope = -4 * a * 0.5 + 8 * a * a * std::min(1 / (2 * m), 1000.0);
    CHECK(at(tape.grad(k), 0, 0) == doctest::Approx(slope).epsilon(1e-9));
  }
}

TEST_CASE("fused_scan: refuses shapes that don't fit") {
  const Tensor a = random({2, 3, 4}, 1);
  CHECK_THROWS_WITH_AS(fused_scan(ScanForm::min_lstm, a, random({2, 3, 5}, 1), a, {}),
                       doctest::Contains("min_lstm_scan: input 1 is [2, 3, 5]"), ShapeError);
  CHECK_THROWS_AS(fused_scan(ScanForm::hgrn, a, a, a, random({4}, 1)), ShapeError);
  CHECK_THROWS_AS(fused_scan(ScanForm::hgrn, a, a, {}, {}), ShapeError);
  CHECK_THROWS_AS(fused_scan(ScanForm::rg_lru, a, a, a, random({5}, 1)), ShapeError);
  CHECK_THROWS_AS(fused_scan(ScanForm::min_lstm, a, a, a, {}, random({2, 5}, 1)), ShapeError);
}
