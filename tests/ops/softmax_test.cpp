#include "ops/softmax.h"

#include "kernels/rows.h"
#include "kernels/softmax.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Function kSoftmax = [](const Tensors& x) { return std::vector{softmax(x[0])}; };

}  // namespace

TEST_CASE_TEMPLATE("softmax kernels: at every width", T, float, double) {
  for_each_size(1, [](int64_t width, Layout at) {
    const Rows<T> x(3, width, at, 1), dy(3, width, at, 2);
    Rows<T> y(3, width, at, 3);
    kernel::softmax<T>(x.view(), y.view());
    const auto share = [&](int64_t r, int64_t c) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) sum += std::exp(x.at(r, i) - x.at(r, c));
      return 1 / sum;
    };
    CHECK(y.error(share) < kTolerance<T>);
    for (bool add : {false, true}) {
      Rows<T> dx(3, width, at, 4);
      kernel::softmax_backward<T>(y.view(), dy.view(), dx.view(), add);
      CHECK(dx.error([&](int64_t r, int64_t c) {
        double mean = 0;
        for (int64_t i = 0; i < width; ++i) mean += share(r, i) * dy.at(r, i);
        return (add ? dx.before(r, c) : 0) + share(r, c) * (dy.at(r, c) - mean);
      }) < 4 * kTolerance<T>);
    }
  });
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
