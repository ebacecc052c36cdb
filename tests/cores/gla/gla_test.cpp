// Values: every form of gla is the reference loop.
#include <cmath>
#include <limits>
#include <tuple>

#include "cores/common/reference.h"
#include "cores/gla/gla_inputs.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("gla: the whole, any split and single steps are the reference loop") {
  const Poison poison;
  for (const GlaOptions& options : all_gla_options())
    for (const auto& [dk, dv] : {std::tuple{3, 5}, {16, 24}, {70, 65}}) {
      CAPTURE(static_cast<int>(options.decay));
      CAPTURE(options.exclusive);
      CAPTURE(dk);
      const GlaInputs in(options, dk, dv);
      const GlaResult whole = in.run(0, kGlaTokens, in.state0);
      const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, {}, options);
      const double scale = 1 + max_abs(reference.o);
      CHECK(max_diff(whole.o, reference.o) < 1e-13 * scale);
      CHECK(max_diff(whole.state, reference.state) < 1e-13 * scale);
      CHECK(whole.state.is_dense());
      const auto part = [&](int64_t from, int64_t to, const Tensors& state) {
        const GlaResult r = in.run(from, to, state[0]);
        return Tensors{r.o, r.state};
      };
      expect_same_in_parts(part, {in.state0}, kGlaTokens, 1e-13);
      const Tensor zero = Tensor::zeros(in.state0.shape(), DType::f64);
      CHECK(same_bits(in.run(0, kGlaTokens, {}).o, in.run(0, kGlaTokens, zero).o));
    }
}

TEST_CASE("gla: the chunk changes nothing beyond rounding") {
  for (GlaOptions options : all_gla_options()) {
    const GlaInputs in(options, 5, 6, 70);
    const Tensors usual = everything(in, {}, options);
    for (int64_t chunk : {1, 3, 16, 100}) {
      options.chunk = chunk;
      expect_near(everything(in, {}, options), usual, 1e-12);
    }
  }
}

TEST_CASE("gla: log decays of 0, -40, -1e4 and -infinity neither overflow nor blur") {
  for (GlaOptions options : all_gla_options()) {
    if (options.decay == Decay::none) continue;
    CAPTURE(static_cast<int>(options.decay));
    CAPTURE(options.exclusive);
    const GlaInputs in(options, 4, 6, 30);
    const double kinds[] = {0, -40, -1e4, -0.1, -std::numeric_limits<double>::infinity(), 0, 0, -5};
    for (int64_t r = 0; r < in.log_decay.rows(); ++r)
      for (int64_t c = 0; c < in.log_decay.cols(); ++c) put(in.log_decay, r, c, kinds[(r * 5 + c * 3) % 8]);
    const Tensors all = everything(in, {}, options);
    const GlaResult reference = reference_gla(in.q, in.k, in.v, in.log_decay, in.state0, {}, options);
    CHECK(max_diff(all[0], reference.o) < 1e-13 * (1 + max_abs(reference.o)));
    for (const Tensor& t : all) CHECK(max_diff(t, t) == 0);  // no NaN
    // Finite ones of the same kinds against differences of the loss.
    for (int64_t r = 0; r < in.log_decay.rows(); ++r)
      for (int64_t c = 0; c < in.log_decay.cols(); ++c)
        if (std::isinf(at(in.log_decay, r, c))) put(in.log_decay, r, c, -1e4);
    CHECK(gradient_error(both_results(options), in.list()) < 1e-7);

    const GlaInputs f32 = in.as_f32();
    const GlaResult single = gla(f32.q, f32.k, f32.v, f32.log_decay, f32.state0, {}, options);
    CHECK(max_diff(single.o, reference.o) < 1e-5 * (1 + max_abs(reference.o)));
  }
}

TEST_CASE("gla: a constant decay a head is that decay at every token") {
  const GlaOptions options{.heads = 2, .decay = Decay::scalar};
  const GlaInputs in(options, 4, 6);
  const Tensor constant = log_decays({2}, 9);
  GlaInputs spread = in;
  for (int64_t r = 0; r < in.log_decay.rows(); ++r)
    for (int64_t h = 0; h < 2; ++h) put(spread.log_decay, r, h, at(constant, 0, h));
  const Tensors want = everything(spread, gla_documents(), options);
  const auto f = [&](const Tensors& x) {
    const GlaResult r = gla(x[0], x[1], x[2], constant, x[3], gla_documents(), options);
    return std::vector{r.o, r.state};
  };
  const Tensors got = f({in.q, in.k, in.v, in.state0});
  CHECK(same_bits(got[0], want[0]));
  CHECK(same_bits(got[1], want[1]));
  CHECK(max_diff(reference_gla(in.q, in.k, in.v, constant, in.state0, gla_documents(), options).o, got[0]) < 1e-13);
  CHECK(gradient_error(f, {in.q, in.k, in.v, in.state0}) < 1e-7);
  Tape tape;  // it has no gradient
  CHECK_THROWS_AS(gla(in.q, in.k, in.v, tape.leaf(constant), {}, {}, options), ShapeError);
}
