// f32 is near f64, and the number of threads changes no bit.
#include <doctest/doctest.h>

#include "support/contract_parts.h"

namespace effllm::test {

void check_f32(const Built& m, const LayerInfo& info, const ConfigNode& node) {
  Built f(info, node, kWidth, DType::f32);
  f.shake(0.3);
  const Tensor x = random({kBatch, length(info), kWidth}, 2), y = m.forward(x);
  CHECK(max_diff(f.forward(to_dtype(x, DType::f32)), y) < 1e-4 * std::max(1.0, max_abs(y)));
  const Tensors exact = train_pass(m, x), rough = train_pass(f, to_dtype(x, DType::f32));
  for (size_t i = 0; i < exact.size(); ++i)
    CHECK(max_diff(rough[i], exact[i]) < 1e-4 * std::max(1.0, max_abs(exact[i])));
  check_splits(f, info, length(info), kWidth, 1e-4 * std::max(1.0, max_abs(y)));
  check_rewind(f, info, 1e-4 * std::max(1.0, max_abs(y)));
}

void check_threads(const Built& m, const LayerInfo& info) {
  const Threads restored(1);
  const Tensor x = random({3, length(info), kWidth}, 2);
  const Tensors one = train_pass(m, x);
  const Tensor y = m.forward(x);
  for (int n : {2, 3}) {
    set_threads(n);
    CHECK(same_bits(m.forward(x), y));
    const Tensors several = train_pass(m, x);
    for (size_t i = 0; i < one.size(); ++i) CHECK(same_bits(several[i], one[i]));
  }
}

}  // namespace effllm::test
