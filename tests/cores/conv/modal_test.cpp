#include "cores/conv/modal.h"

#include <complex>

#include "cores/conv/fft_conv.h"
#include "kernels/rows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

using Number = std::complex<double>;

struct Parameters {
  Tensor log_dt, c, log_a, angle;
};
// As S4D starts, with decays that differ.
Parameters parameters(int64_t columns, int64_t pairs, double step = 0.05) {
  Parameters p = {random({columns}, 1), random({columns, 2 * pairs}, 2), random({columns, pairs}, 3),
                  random({columns, pairs}, 4)};
  for (int64_t k = 0; k < columns; ++k) {
    put(p.log_dt, 0, k, std::log(step) + 0.3 * at(p.log_dt, 0, k));
    for (int64_t n = 0; n < pairs; ++n) {
      put(p.log_a, k, n, -0.7 + 0.3 * at(p.log_a, k, n));
      put(p.angle, k, n, 3.14159 * static_cast<double>(n) + 0.2 * at(p.angle, k, n));
    }
  }
  return p;
}
Modes modes_of(const Parameters& p) { return modes(p.log_dt, p.c, p.log_a, p.angle); }

// K_l by its definition.
double response(const Parameters& p, int64_t k, int64_t l) {
  const double dt = std::exp(at(p.log_dt, 0, k));
  double sum = 0;
  for (int64_t n = 0; n < p.log_a.cols(); ++n) {
    const Number a(-std::exp(at(p.log_a, k, n)), at(p.angle, k, n)), c(at(p.c, k, 2 * n), at(p.c, k, 2 * n + 1));
    sum += 2 * (c * (std::exp(dt * a) - 1.0) / a * std::exp(dt * a * static_cast<double>(l))).real();
  }
  return sum;
}

Tensor documents(int64_t batch, int64_t tokens, bool at_once) {
  const Tensor t = Tensor::zeros({batch, tokens}, DType::i64);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0, count = 0; i < tokens; ++i) {
      count += i == 0 ? at_once : (i + b) % 7 == 3 || i == 16;
      t.view<int64_t>().row(b)[i] = count;
    }
  return t;
}

Tensor as(const Tensor& t, DType type) { return t.defined() ? to_dtype(t, type) : t; }

}  // namespace

TEST_CASE("modal_kernel: equals its exponentials, also after thousands of tokens and where steps are tiny or huge") {
  const Poison poison;
  for_each_isa([] {
    for (int64_t tokens : {1, 2, 3, 5, 16, 17, 64, 100, 3000})
      for (double step : {1e-9, 0.05, 100.0}) {
        CAPTURE(tokens);
        CAPTURE(step);
        const Parameters p = parameters(19, 3, step);
        const Tensor skip = random({19}, 9), k = modal_kernel(modes_of(p), skip, tokens);
        double worst = 0, most = 1;
        for (int64_t l = 0; l < tokens; ++l)
          for (int64_t c = 0; c < 19; ++c) {
            const double want = response(p, c, l) + (l == 0 ? at(skip, 0, c) : 0);
            worst = std::max(worst, std::abs(at(k, l, c) - want));
            most = std::max(most, std::abs(want));
          }
        CHECK(worst < 2e-12 * most);
      }
  });
}

TEST_CASE("modal_kernel, modes: gradients") {
  const auto whole = [](int64_t tokens) {
    return
        [tokens](const Tensors& x) { return std::vector{modal_kernel(modes(x[0], x[1], x[2], x[3]), x[4], tokens)}; };
  };
  const Parameters p = parameters(3, 2);
  for (int64_t tokens : {1, 2, 5, 21}) expect_sound(whole(tokens), {p.log_dt, p.c, p.log_a, p.angle, random({3}, 5)});
  const Parameters wide = parameters(18, 2);
  CHECK(gradient_error(whole(11), {wide.log_dt, wide.c, wide.log_a, wide.angle, random({18}, 5)}) < 1e-7);
  expect_same_bits_on_threads(whole(300), {wide.log_dt, wide.c, wide.log_a, wide.angle, random({18}, 5)});
}

TEST_CASE("modal_scan: equals the convolution with the kernel, at all sizes and instruction sets") {
  const Poison poison;
  for_each_isa([] {
    for (int64_t tokens : {1, 15, 33, 200}) {
      const Parameters p = parameters(19, 5);
      const Tensor u = random({3, tokens, 19}, 6), skip = random({19}, 7);
      const Tensor segments = tokens == 33 ? documents(3, tokens, true) : Tensor();
      const Tensor y = modal_scan(u, modes_of(p), skip, {}, segments).y;
      const Tensor other = fft_conv(u, modal_kernel(modes_of(p), skip, tokens), segments);
      CHECK(max_diff(y, other) < 1e-11);
      const Modes m = modes_of(p), near = {as(m.decay, DType::f32), as(m.read, DType::f32)};
      const Tensor rough = modal_scan(as(u, DType::f32), near, as(skip, DType::f32), {}, segments).y;
      CHECK(max_diff(as(rough, DType::f64), y) < 2e-5 * std::max(1.0, max_abs(y)));
    }
  });
}

TEST_CASE("modal_scan: gradients through spans, documents and states, the same bits for any threads") {
  const auto scan = [](const Tensors& x) {
    const ModalScanResult r = modal_scan(x[0], {x[1], x[2]}, x[3], x[4], x[5]);
    return std::vector{r.y, r.last};
  };
  const Modes m = modes_of(parameters(3, 2)), wide = modes_of(parameters(18, 2));
  for (bool at_once : {false, true})
    expect_sound(scan, {random({2, 18, 3}, 1), m.decay, m.read, random({3}, 2), random({2, 4, 3}, 3),
                        documents(2, 18, at_once)});
  expect_sound(scan, {random({1, 3, 3}, 1), m.decay, m.read, Tensor(), Tensor(), Tensor()});
  CHECK(gradient_error(scan, {random({2, 17, 18}, 1), wide.decay, wide.read, random({18}, 2), random({2, 4, 18}, 3),
                              Tensor()}) < 1e-7);
  const Modes many = modes_of(parameters(530, 2));
  expect_same_bits_on_threads(
      scan, {random({3, 40, 530}, 1), many.decay, many.read, random({530}, 2), random({3, 4, 530}, 3), Tensor()});
}

TEST_CASE("modal_scan: whole, split and token by token are the same") {
  const Modes m = modes_of(parameters(9, 3));
  const Tensor u = random({2, 37, 9}, 1), skip = random({9}, 2), start = random({2, 6, 9}, 3);
  const auto part = [&](int64_t from, int64_t to, const Tensors& state) {
    const ModalScanResult r = modal_scan(tokens(u, from, to), m, skip, state[0], {});
    return Tensors{r.y, r.last};
  };
  expect_same_in_parts(part, {start}, 37, 1e-13);
}

TEST_CASE("modal_scan, fft_conv: inputs may be columns inside wider rows") {
  const Modes m = modes_of(parameters(21, 2));
  const Tensor u = random({2, 70, 21}, 1), wide = Tensor::full({2, 70, 26}, DType::f64, std::nan(""));
  copy(u, wide.columns(3, 21));
  for_each_isa([&] {
    for (int64_t tokens : {20, 70}) {
      const auto run = [&](const Tensors& x) {
        return std::vector{modal_scan(x[0], m, {}, {}, {}).y, fft_conv(x[0], modal_kernel(m, {}, tokens))};
      };
      const auto dense = outputs_and_gradients(run, {u.row_range(0, {2, tokens, 21}).clone()}),
                 inside = outputs_and_gradients(run, {wide.row_range(0, {2, tokens, 26}).columns(3, 21)});
      for (size_t i = 0; i < dense.size(); ++i) CHECK(same_bits(dense[i], inside[i]));
    }
  });
}

TEST_CASE("modal ops: refuse shapes that don't fit") {
  const Parameters p = parameters(3, 2);
  CHECK_THROWS_WITH_AS(modes(p.log_dt, p.log_a, p.log_a, p.angle), doctest::Contains("c[3, 2]"), ShapeError);
  const Modes m = modes_of(p);
  CHECK_THROWS_AS(modal_scan(random({1, 4, 5}, 1), m, {}, {}, {}), ShapeError);
  CHECK_THROWS_WITH_AS(modal_scan(random({1, 4, 3}, 1), m, {}, random({1, 3, 3}, 1), {}),
                       doctest::Contains("[1, 4, 3]"), ShapeError);
  CHECK_THROWS_AS(modal_kernel(m, random({2}, 1), 4), ShapeError);
}
