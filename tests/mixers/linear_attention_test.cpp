#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("linear_attention: parameters, state and work in closed form") {
  constexpr int64_t D = 8, H = 2, n = 4;
  const BuiltMixer sum("linear_attention", "{heads: 2}", D),
      norm("linear_attention", "{heads: 2, normalize: false}", D);
  CHECK(sum.store.count() == 4 * D * D);
  CHECK(sum.undecayed().empty());
  CHECK(norm.store.count() == 4 * D * D + n);
  CHECK(norm.undecayed() == std::vector<std::string>{"norm.weight"});
  for (int64_t tokens : {1, 100, 100000}) {
    CHECK(sum.bytes(tokens) == 4 * (H * n * n + H * n));
    CHECK(norm.bytes(tokens) == 4 * H * n * n);
  }
  constexpr int64_t shared = 8 * D * D + 8 * 2 * D + 4 * H * n * n;  // projections, features, core
  CHECK(sum.forward_flops(2, 6, D) == 12.0 * (shared + 4 * D));
  CHECK(norm.forward_flops(2, 6, D) == 12.0 * (shared + 4 * D));
  CHECK_THROWS_AS(BuiltMixer("linear_attention", "{heads: 3}", D), ConfigError);
}
