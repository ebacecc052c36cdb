#include "cores/scan/fused_scan.h"

#include "cores/scan/scan_forms.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// The first row goes on with a document and has two more, the second begins with a start.
Tensor documents() { return integers({2, 6}, {0, 0, 1, 1, 2, 2, 1, 1, 1, 1, 2, 2}); }

// Between 0 and 0.9 times `scale`.
Tensor row(int64_t n, double scale = 1) {
  const Tensor t = Tensor::dense({n}, DType::f64);
  for (int64_t c = 0; c < n; ++c) t.data<double>()[c] = scale * 0.9 * static_cast<double>(c % 7) / 6;
  return t;
}

// x0, x1, x2, row, h0 of a form; undefined where it has none.
Tensors inputs(const ScanForm& f, const Shape& s, double scale = 1) {
  const double least = f.row && f.inputs == 3 ? 0.3 : 0;  // the root is steep near a = 1
  Tensor r = f.row ? row(s[2]) : Tensor();
  for (int64_t c = 0; r.defined() && c < s[2]; ++c) r.data<double>()[c] += least;
  return {random(s, 1, DType::f64, scale), random(s, 2, DType::f64, scale),
          f.inputs > 2 ? random(s, 3, DType::f64, scale) : Tensor(), r, random({s[0], s[2]}, 4)};
}

// The loop over tokens. x: x0, x1, x2, row.
ScanResult reference(const ScanForm& f, const Tensors& x, const Tensor& h0, const Tensor& segments) {
  const int64_t batch = x[0].dim(0), tokens = x[0].dim(1), columns = x[0].cols();
  const Tensor h = Tensor::empty(x[0].shape(), DType::f64), last = Tensor::empty({batch, columns}, DType::f64);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t c = 0; c < columns; ++c) {
      double state = h0.defined() ? at(h0, b, c) : 0;
      for (int64_t t = 0; t < tokens; ++t) {
        const auto value = [&](const Tensor& v) { return v.defined() ? at(v, b * tokens + t, c) : 0; };
        const bool first = (t == 0 && !h0.defined()) || starts(segments, b, t);
        const Coefficients k =
            f.at(first, value(x[0]), value(x[1]), value(x[2]), x[3].defined() ? x[3].data<double>()[c] : 0);
        put(h, b * tokens + t, c, state = (first ? 0 : k.a * state) + k.b);
      }
      put(last, b, c, state);
    }
  return {h, last};
}
// Of x0, x1, x2, row, h0.
Function states(const ScanForm& f) {
  return [&f](const Tensors& x) { return Tensors{f.run(x, x[4], {}).h}; };
}

}  // namespace

TEST_CASE("fused_scan: the whole, any split and single steps are the reference loop") {
  const Poison poison;
  for (const ScanForm& f : kScanForms)
    for (double scale : {1.0, 30.0})
      for (int64_t width : {1, 21, 530}) {
        const auto x = inputs(f, {2, 6, width}, scale);
        for (const Tensor& segments : {Tensor(), documents()})
          for (const Tensor& h0 : {x[4], Tensor()}) {
            const ScanResult whole = f.run(x, h0, segments), expected = reference(f, x, h0, segments);
            CHECK(max_diff(whole.h, expected.h) < 1e-12 * scale);
            CHECK(max_diff(whole.last, expected.last) < 1e-12 * scale);
          }
        const auto part = [&](int64_t from, int64_t to, const Tensors& state) {
          const Tensors some = {tokens(x[0], from, to), tokens(x[1], from, to), tokens(x[2], from, to), x[3]};
          const ScanResult r = f.run(some, state[0], {});
          return Tensors{r.h, r.last};
        };
        for (const Tensor& h0 : {x[4], Tensor()}) expect_same_in_parts(part, {h0}, 6, 1e-14);
        CHECK(same_bits(part(0, 3, {Tensor()})[0], tokens(f.run(x, {}, {}).h, 0, 3)));
      }
}

TEST_CASE("fused_scan: gradients, with documents and without, with a state and without") {
  for (const ScanForm& f : kScanForms)
    for (bool with_documents : {false, true})
      for (bool with_h0 : {false, true}) {
        auto x = inputs(f, {2, 6, 5});
        if (!with_h0) x[4] = Tensor();
        x.push_back(with_documents ? documents() : Tensor());
        CAPTURE(f.name);
        expect_sound(
            [&f](const Tensors& in) {
              const ScanResult r = f.run(in, in[4], in[5]);
              return std::vector{r.h, r.last};
            },
            x);
      }
}

TEST_CASE("fused_scan: gradients where two inputs are one tensor") {
  for (const ScanForm& f : kScanForms) {
    const auto last = static_cast<size_t>(f.inputs - 1);
    const auto twice = [&](Tensors in) {
      in[last] = in[0];
      return Tensors{f.run(in, {}, {}).h};
    };
    Tensors x = inputs(f, {2, 6, 5});
    x[last] = x[4] = Tensor();
    CHECK(gradient_error(twice, x) < 1e-7);
  }
}

TEST_CASE("fused_scan: the same bits on any number of threads") {
  for (const ScanForm& f : kScanForms) expect_same_bits_on_threads(states(f), inputs(f, {3, 40, 600}));
}

TEST_CASE("fused_scan: extremes stay finite and right, in f32 too") {
  const double far[] = {-1e4, -200, -90, -30, 0, 30, 90, 200, 1e4};
  constexpr int64_t kN = 81;
  for (const ScanForm& f : kScanForms) {
    const Tensor a = Tensor::dense({1, 2, kN}, DType::f64), b = a.clone(), u = random({1, 2, kN}, 1), r = row(kN);
    for (int64_t t = 0; t < 2; ++t)
      for (int64_t c = 0; c < kN; ++c) put(a, t, c, far[c / 9]), put(b, t, c, far[c % 9]);
    const bool two = f.inputs == 2;
    const Tensors x = {a, two ? u : b, two ? Tensor() : u, f.row ? r : Tensor(), random({1, kN}, 2)};
    const Tensors wide = outputs_and_gradients(states(f), x);
    expect_near(outputs_and_gradients(states(f), inputs_as(x, DType::f32)), wide, 2e-5);
    CHECK(std::isfinite(max_abs(wide[0])));
  }
}

TEST_CASE("fused_scan: the gates of a ratio share one unit of mass where both are nearly shut") {
  const auto full = [](double v) { return Tensor::full({1, 1, 1}, DType::f32, v); };
  const ScanResult r =
      ratio_scan(full(-100), full(-102), full(0), Candidate::linear, Tensor::full({1, 1}, DType::f32, 1));
  CHECK(at(r.h, 0, 0) == doctest::Approx(1 / (1 + std::exp(-2.0))).epsilon(1e-6));
}

TEST_CASE("power_scan: near a = 1, where the slope of the root is bounded") {
  const auto full = [](double v) { return Tensor::full({1, 1, 1}, DType::f64, v); };
  const Tensor h0 = Tensor::full({1, 1}, DType::f64, 0.5);
  for (double rate : {1e-3, 1e-9, 1e-30, 0.0}) {
    CAPTURE(rate);
    Tape tape;
    const Tensor r = tape.leaf(full(0)), k = tape.leaf(Tensor::full({1}, DType::f64, rate)), u = full(2);
    const Tape::Recording recording(tape);
    const Tensor h = power_scan(r, full(0), u, k, h0).h;
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
  const Tensor wide = random({2, 3, 5}, 1);
  CHECK_THROWS_WITH_AS(gated_scan(a, wide, Candidate::positive), doctest::Contains("gated_scan: input 1 is [2, 3, 5]"),
                       ShapeError);
  CHECK_THROWS_AS(ratio_scan(a, a, wide, Candidate::linear), ShapeError);
  CHECK_THROWS_AS(floored_scan(a, a, {}), ShapeError);
  CHECK_THROWS_AS(power_scan(a, a, a, random({5}, 1)), ShapeError);
  CHECK_THROWS_AS(gated_scan(a, a, Candidate::linear, random({2, 5}, 1)), ShapeError);
}
