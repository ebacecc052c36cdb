// LSTM and GRU: how they start, what they cost.

#include "mixers/built_mixer.h"
#include "model/describe.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// Smallest and largest of columns [from, to) of all rows.
std::pair<double, double> range(const Tensor& t, int64_t from, int64_t to) {
  std::pair<double, double> r{at(t, 0, from), at(t, 0, from)};
  for (int64_t row = 0; row < t.rows(); ++row)
    for (int64_t c = from; c < to; ++c) r = {std::min(r.first, at(t, row, c)), std::max(r.second, at(t, row, c))};
  return r;
}

// Uniform within bound around centre: inside it, and nearly to its ends.
void check_uniform(const Tensor& t, int64_t from, int64_t to, double bound, double centre = 0) {
  const auto [low, high] = range(t, from, to);
  CHECK(low >= centre - bound);
  CHECK(high <= centre + bound);
  CHECK(low < centre - 0.8 * bound);
  CHECK(high > centre + 0.8 * bound);
}

}  // namespace

TEST_CASE("lstm: starts as PyTorch's does, its forget gate nearer to open") {
  const BuiltMixer m("{type: lstm, expand: 2}", 32);
  const double bound = 1 / 8.0;
  CHECK(m["in.weight"].shape == Shape{256, 32});
  CHECK(m["recurrent.weight"].shape == Shape{256, 64});
  CHECK(m["out.weight"].shape == Shape{32, 64});
  check_uniform(m["in.weight"].value, 0, 32, bound);
  check_uniform(m["recurrent.weight"].value, 0, 64, bound);
  check_uniform(m["out.weight"].value, 0, 64, bound);
  const Tensor& bias = m["in.bias"].value;
  for (int gate = 0; gate < 4; ++gate) check_uniform(bias, 64 * gate, 64 * gate + 64, bound, gate == 1 ? 1 : 0);
  const BuiltMixer other("{type: lstm, expand: 2, forget_bias: -2}", 32);
  check_uniform(other["in.bias"].value, 64, 128, bound, -2);
  CHECK(m["in.weight"].traits.decay);
  CHECK(m["recurrent.weight"].traits.decay);
  CHECK_FALSE(m["in.bias"].traits.decay);
  CHECK(m["recurrent.weight"].traits.role == Role::own);
  CHECK(BuiltMixer("{type: lstm}", 32).store.find("out.weight") == nullptr);
}

TEST_CASE("gru: starts as PyTorch's does") {
  const BuiltMixer m("{type: gru, expand: 2}", 32);
  CHECK(m["in.weight"].shape == Shape{192, 32});
  CHECK(m["recurrent.weight"].shape == Shape{192, 64});
  for (const Parameter* p : m.store.sorted()) {
    CAPTURE(p->name);
    check_uniform(p->value, 0, p->value.cols(), 1 / 8.0);
    CHECK(p->traits.decay == (p->shape.rank() == 2));
  }
  CHECK(m["in.bias"].shape == Shape{192});
  CHECK(m["recurrent.bias"].shape == Shape{64});
  CHECK(BuiltMixer("{type: gru}", 32).store.find("out.weight") == nullptr);
}

TEST_CASE("lstm, gru: parameters, state and FLOPs as written out") {
  constexpr int64_t d = 16, w = 32, batch = 3, length = 7;
  struct Expected {
    const char* yaml;
    int64_t parameters, state;
    double functions;  // per token beside the products and the first bias
    int64_t gates;
  };
  const Expected all[] = {
      {"{type: lstm, expand: 2}", 4 * w * d + 4 * w + 4 * w * w + d * w, 2 * w, 48.0 * w, 4},
      {"{type: gru, expand: 2}", 3 * w * d + 3 * w + 3 * w * w + w + d * w, w, 34.0 * w, 3},
  };
  for (const Expected& e : all) {
    CAPTURE(e.yaml);
    const BuiltMixer m(e.yaml, d);
    CHECK(m.store.count() == e.parameters);
    for (int64_t tokens : {1, 100, 100000}) CHECK(m.bytes(tokens) == 4 * e.state);
    CHECK(m.mixer->sequences_together() == 8);
    const Meter meter;
    m.forward(random({batch, length, d}, 1));
    const double products = 2.0 * static_cast<double>(e.gates * w * d + e.gates * w * w + d * w);
    CHECK(meter.total.dense_flops == batch * length * products);
    CHECK(meter.total.forward_flops == batch * length * (products + static_cast<double>(e.gates * w) + e.functions));
  }
}

TEST_CASE("lstm, gru: the utilisation counts recurrent products as dense") {
  const auto flops = [](const char* mixer) {
    const ModelConfig config =
        read_model_config(parse_config(std::string("{d_model: 16, layers: [{mixer: ") + mixer + "}]}", "test"), 32);
    return model_flops_per_token(config, 50, 32);
  };
  CHECK(flops("{type: lstm}") - flops("{type: gru}") == 6.0 * (16 * 16 + 16 * 16));
}
