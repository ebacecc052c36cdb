#include <doctest/doctest.h>

#include "kernels/dense.h"
#include "kernels/rows.h"
#include "nn/transposed.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("transpose: every remainder, padded rows, with every instruction set") {
  for (DType type : {DType::f32, DType::f64})
    for (int64_t rows : {1, 7, 16, 35, 128})
      for (int64_t cols : {1, 8, 17, 128}) {
        const Tensor x = random({rows, cols}, 1, type), y = Tensor::full({cols, rows}, type, 7);
        for_each_isa([&] {
          dispatch_float(type, [&]<class T>() { kernel::transpose<T>(x.view<T>(), y.view<T>()); });
          double worst = 0;
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t c = 0; c < cols; ++c) worst = std::max(worst, std::abs(at(x, r, c) - at(y, c, r)));
          CHECK(worst == 0);
        });
      }
}

TEST_CASE("transposed weights: dense weights alone have a copy, of their values now, while one is asked for") {
  ParamStore store;
  const Scope s(store);
  Parameter& dense = s.param("dense", {70, 128}, Init::normal(1), {.dense = true});
  Parameter& other = s.param("other", {70, 128}, Init::normal(1));
  store.materialize(1, DType::f32);
  TransposedWeights all(store);
  CHECK_FALSE(dense.transposed.defined());
  for (double value : {1.0, 2.0}) {
    put(dense.value, 69, 3, value);
    const TransposedWeights::Fresh fresh(all);
    CHECK(dense.transposed.shape() == Shape{128, 70});
    CHECK(at(dense.transposed, 3, 69) == value);
    CHECK_FALSE(other.transposed.defined());
  }
  CHECK_FALSE(dense.transposed.defined());
}
