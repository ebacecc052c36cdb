#include "autodiff/interrupt.h"

#include <doctest/doctest.h>

#include <atomic>

#include "autodiff/tape.h"
#include "kernels/parallel.h"
#include "ops/arithmetic.h"
#include "support/models.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// The gradient of x x + x, a sum of two ops whose backward runs are two more.
Tensor gradient(const Tensor& value) {
  Tape tape;
  const Tensor x = tape.leaf(value);
  const Tape::Recording recording(tape);
  const Tensor y = add(multiply(x, x), x);
  tape.backward(y, Tensor::full(value.shape(), DType::f64, 1));
  return tape.grad(x);
}

}  // namespace

TEST_CASE("interrupt: asked before each op, forwards and backwards, and heeded at once") {
  const Tensor x = Tensor::full({2, 3}, DType::f64, 2);
  for (int op = 0; op < 4; ++op) {
    int asked = 0;
    const Interrupt interrupt([&] { return asked++ == op; });
    CHECK_THROWS_AS(gradient(x), Interrupted);
    CHECK(asked == op + 1);
  }
  int asked = 0;
  {
    const Interrupt interrupt([&] { return ++asked > 4; });
    CHECK(at(gradient(x), 1, 2) == 5);
    CHECK(asked == 4);
    CHECK_THROWS_AS(gradient(x), Interrupted);
  }
  gradient(x);
  CHECK(asked == 5);  // nobody asks any more
}

TEST_CASE("interrupt: it ends the work of all threads") {
  const Threads three(3);
  const Tensor x = Tensor::full({2, 3}, DType::f64, 2);
  std::atomic<int> left = 100, ended = 0;
  const Interrupt interrupt([&] { return left-- <= 0; });
  const auto all = [&] {
    run_workers(3, [&](int) {
      struct Ends {
        std::atomic<int>& n;
        ~Ends() { ++n; }
      } const ends{ended};
      for (;;) gradient(x);
    });
  };
  CHECK_THROWS_AS(all(), Interrupted);
  CHECK(ended == 3);
}
