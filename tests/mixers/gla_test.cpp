#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("gla: everything starts N(0, 0.02), the convolution too, at any depth") {
  for (int64_t layers : {1, 12}) {
    const BuiltMixer key("gla", "{conv: 4}", 128, 0, layers), head("gla", "{gate: head, heads: 32}", 128);
    for (const char* name : {"qkvg.weight", "conv.weight", "decay_down.weight", "decay_up.weight", "out.weight"}) {
      CAPTURE(name);
      key.check_deviation(name, 0.02, 0.06);
      CHECK(key.most(name) > 0.045);  // normal, not uniform of that spread: +- 0.035
    }
    head.check_deviation("decay.weight", 0.02, 0.06);
    CHECK(key.all("decay_up.bias", 0));
    CHECK(head.all("decay.bias", 0));
    CHECK(key.all("norm.weight", 1));
    CHECK(key.undecayed() == std::vector<std::string>{"decay_up.bias", "norm.weight"});
  }
}

TEST_CASE("gla: at its start the norm's eps is not small beside what is read: it must be the right one") {
  // One token: o = (q . k) v / sqrt(dk) with entries of a few thousandths, whose square is near 1e-5.
  const BuiltMixer right("gla", "{}", 128), other("gla", "{norm_eps: 1e-5}", 128);
  const Tensor x = random({1, 1, 128}, 1), a = right.forward(x), b = other.forward(x);
  CHECK(max_diff(a, b) > 0.005 * max_abs(a));
}
