// What delta alone has; what it shares with gla is in common/memories_test.cpp.
#include <tuple>

#include "cores/common/memories.h"

using namespace effllm;
using namespace effllm::test;

namespace {

const Memory kPlain{"", true, {.heads = 2, .decay = Decay::none}},
    kDecays{"", true, {.heads = 2, .decay = Decay::scalar}};

}  // namespace

TEST_CASE("delta: no token's bits depend on later ones") {
  for (const Memory& memory : {kPlain, kDecays})
    for (const auto& [dk, dv] : {std::tuple{3, 5}, {32, 64}, {64, 130}}) {
      const Tensors in = memory.inputs(dk, dv, 40);
      if (memory.decays())
        for (int64_t r = 3; r < in[kLogDecay].rows(); r += 7) put(in[kLogDecay], r, 0, r % 2 ? -50 : -400);
      for (const Tensors& x : {in, inputs_as(in, DType::f32)}) {
        const Tensors whole = memory.run(x);
        for (int64_t n = 1; n < 40; ++n) {
          Tensors first = x;
          for (size_t i = 0; i < kState0; ++i) first[i] = tokens(x[i], 0, n);
          CHECK(same_bits(memory.run(first)[0], tokens(whole[0], 0, n)));
        }
      }
    }
}

TEST_CASE("delta: steady strong decays stay exact over many tokens, f32") {
  for (double decay : {-0.001, -1.0, -5.0, -12.0, -30.0}) {
    CAPTURE(decay);
    const Tensors x = kDecays.inputs(16, 32, 300, 1);
    fill(x[kLogDecay], decay);
    expect_near(kDecays.everything(inputs_as(x, DType::f32)), kDecays.everything(x), 3e-5);
  }
}
