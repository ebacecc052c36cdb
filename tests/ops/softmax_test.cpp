#include "ops/softmax.h"

#include "kernels/everywhere.h"
#include "kernels/softmax.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kSoftmax = [](const Tensors& x) { return std::vector{softmax(x[0])}; };

}  // namespace

TEST_CASE("softmax kernels: one result at every width") {
  expect_one_result(1, []<class T>(int64_t width, Layout at, bool add) {
    const Rows<T> x(3, width, at, 1), dy(3, width, at, 2);
    Rows<T> y(3, width, at, 3), dx(3, width, at, 4);
    kernel::softmax<T>(x.view(), y.view());
    kernel::softmax_backward<T>(y.view(), dy.view(), dx.view(), add);
    return Results<T>{{y}, {dx, add}};
  });
}

TEST_CASE("softmax: the share of each exponential in their sum") {
  const Tensor x = random({2, 3, 7}, 1), y = softmax(x);
  for (int64_t r = 0; r < 6; ++r)
    for (int64_t c = 0; c < 7; ++c) {
      double sum = 0;
      for (int64_t i = 0; i < 7; ++i) sum += std::exp(at(x, r, i) - at(x, r, c));
      CHECK(std::abs(at(y, r, c) - 1 / sum) < 1e-14);
    }
}

TEST_CASE("softmax: gradients, costs, precision, threads, large numbers") {
  for (int64_t width : {1, 6, 17}) expect_sound(kSoftmax, {random({2, 3, width}, 1)});
  expect_same_bits_on_threads(kSoftmax, {random({3, 70, 24}, 1)});
  const Tensor large = Tensor::full({1, 2}, DType::f32, 1000);
  put(large, 0, 1, -1000);
  CHECK(at(softmax(large), 0, 0) == 1);
  CHECK(at(softmax(large), 0, 1) == 0);
  CHECK_THROWS_AS(softmax(Tensor::zeros({2, 3}, DType::i64)), ShapeError);
}
