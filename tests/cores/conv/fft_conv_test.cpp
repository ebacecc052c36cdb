#include "cores/conv/fft_conv.h"

#include "kernels/rows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// By the sum over tokens of the same document.
Tensor plain(const Tensor& u, const Tensor& k, const Tensor& segments) {
  const int64_t tokens = u.dim(1);
  const Tensor y = Tensor::zeros(u.shape(), DType::f64);
  for (int64_t r = 0; r < u.rows(); ++r)
    for (int64_t c = 0; c < u.cols(); ++c) {
      double sum = 0;
      for (int64_t s = r - r % tokens; s <= r; ++s)
        if (!segments.defined() || segments.data<int64_t>()[s] == segments.data<int64_t>()[r])
          sum += at(u, s, c) * at(k, r - s, c);
      put(y, r, c, sum);
    }
  return y;
}

// Documents of 70, 3, 70, .. tokens: transforms of one length and of several, and none.
Tensor documents(int64_t batch, int64_t tokens) {
  const Tensor t = Tensor::zeros({batch, tokens}, DType::i64);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t i = 0; i < tokens; ++i) t.view<int64_t>().row(b)[i] = i / 73 * 2 + (i % 73 >= 70 + b) + b;
  return t;
}

Tensors conv(const Tensors& x) { return {fft_conv(x[0], x[1], x[2])}; }

}  // namespace

TEST_CASE("fft_conv: equals the sum at all lengths, in f64 to 1e-15 of the largest result") {
  const Poison poison;
  for_each_isa([] {
    for (int64_t tokens : {1, 2, 63, 64, 65, 100, 128, 129, 257, 600}) {
      CAPTURE(tokens);
      const Tensor u = random({3, tokens, 19}, 1), k = random({tokens, 19}, 2);
      const Tensor want = plain(u, k, {}), got = fft_conv(u, k);
      CHECK(max_diff(got, want) < 4e-15 * max_abs(want));
      CHECK(max_diff(fft_conv(to_dtype(u, DType::f32), to_dtype(k, DType::f32)), want) < 2e-6 * max_abs(want));
    }
  });
}

TEST_CASE("fft_conv: documents are convolved apart") {
  const Tensor u = random({2, 300, 5}, 1), k = random({300, 5}, 2), segments = documents(2, 300);
  CHECK(max_diff(fft_conv(u, k, segments), plain(u, k, segments)) < 1e-12);
}

TEST_CASE("fft_conv: gradients, term by term and by transforms, of one and of two sequences, and of documents") {
  for (const Tensor& u : {random({2, 9, 3}, 1), random({3, 66, 2}, 1), random({1, 66, 2}, 1)})
    expect_sound(conv, {u, random({u.dim(1), u.cols()}, 2), Tensor()});
  expect_sound(conv, {random({2, 150, 1}, 1), random({150, 1}, 2), documents(2, 150)});
  for (int64_t tokens : {10, 70})
    CHECK(gradient_error(conv, {random({2, tokens, 17}, 1), random({tokens, 17}, 2), Tensor()}) < 1e-7);
  expect_same_bits_on_threads(conv, {random({3, 300, 70}, 1), random({300, 70}, 2), Tensor()});
}

TEST_CASE("fft_conv: up to 64 tokens no bit depends on what comes later") {
  const Tensor u = random({1, 64, 5}, 1), k = random({64, 5}, 2), y = fft_conv(u, k);
  Tensor other = u.clone();
  put(other, 40, 2, 1e9);
  CHECK(same_bits(tokens(fft_conv(other, k), 0, 40), tokens(y, 0, 40)));
}

TEST_CASE("fft_conv: refuses shapes that don't fit") {
  CHECK_THROWS_WITH_AS(fft_conv(random({2, 3, 4}, 1), random({4, 4}, 1)), doctest::Contains("k[4, 4]"), ShapeError);
  CHECK_THROWS_AS(fft_conv(random({2, 3, 4}, 1), random({3, 4}, 1), Tensor::zeros({3, 2}, DType::i64)), ShapeError);
}
