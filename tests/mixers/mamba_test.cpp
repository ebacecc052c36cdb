#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("mamba: starts as its authors' code does") {
  const BuiltMixer m("{type: mamba}", 40);  // rank 3, inner width 80
  CHECK(m["dt.weight"].shape == Shape{80, 3});
  CHECK(m["x_proj.weight"].shape == Shape{3 + 2 * 16, 80});
  m.check_uniform("in.weight", 1 / std::sqrt(40.0));
  m.check_uniform("conv.weight", 0.5);
  m.check_uniform("conv.bias", 0.5);
  m.check_uniform("x_proj.weight", 1 / std::sqrt(80.0));
  m.check_uniform("dt.weight", 1 / std::sqrt(3.0));
  m.check_uniform("out.weight", 1 / std::sqrt(80.0 * 4));  // 2 layers, each with a channel mixer
  CHECK(m.all("d", 1));
  for (int64_t c = 0; c < 80; ++c)
    for (int64_t n = 0; n < 16; ++n) CHECK(at(m["a_log"].value, c, n) == std::log(static_cast<double>(n + 1)));
  const auto [least, most] = m.range("dt.bias", [](double b) { return std::log1p(std::exp(b)); });
  CHECK(least > 1e-3 - 1e-9);
  CHECK(least < 1.5e-3);
  CHECK(most < 0.1 + 1e-9);
  CHECK(most > 0.07);
  for (const Parameter* p : m.store.sorted()) CHECK(p->traits.lr_scale == 1);
  CHECK(m.undecayed() == std::vector<std::string>{"a_log", "conv.bias", "d", "dt.bias"});
}

TEST_CASE("mamba, mamba2: the output starts smaller by the root of what is added to the residual stream") {
  for (const char* type : {"mamba", "mamba2"})
    for (const bool with_ffn : {false, true})
      for (int64_t layers : {1, 6}) {
        const BuiltMixer m(fmt::format("{{type: {}}}", type), 64,
                           {.d_model = 64, .layer = 0, .layers = layers, .max_tokens = 64, .with_ffn = with_ffn});
        const double bound = 1 / std::sqrt(128.0 * static_cast<double>(layers) * (with_ffn ? 2 : 1));
        m.check_uniform("out.weight", bound, 0.99);
      }
}

TEST_CASE("mamba: parameters, state and cost in closed form") {
  const int64_t d = 12, i = 24, n = 5, w = 3, r = 2, tokens = 7, batch = 2;
  const BuiltMixer m("{type: mamba, state: 5, conv: 3, dt_rank: 2}", d);
  CHECK(m.store.count() == 2 * i * d + (w + 1) * i + (r + 2 * n) * i + i * r + i + i * n + i + d * i);
  for (int64_t length : {1, 100, 10000}) CHECK(m.bytes(length) == 4 * i * (n + w - 1));
  Meter meter;
  m.forward(random({batch, tokens, d}, 1));
  const int64_t products = 2 * (2 * i * d + (r + 2 * n) * i + i * r + d * i);
  // conv and its bias, silu, dt's bias, softplus, the scan with its skip, silu(z), the gate
  const int64_t rest = i * (2 * w + 1 + 8 + 1 + 8 + (13 * n + 3) + 8 + 1);
  CHECK(meter.total.forward_flops == static_cast<double>(batch * tokens * (products + rest)));
  CHECK(meter.total.dense_flops == static_cast<double>(batch * tokens * products));
}

TEST_CASE("mamba: a closed gate passes nothing, and without steps the state stays") {
  BuiltMixer m("{type: mamba, state: 4, conv: 2}", 8);
  const Tensor x = random({1, 5, 8}, 1);
  fill(m["dt.weight"].value, 0);
  fill(m["dt.bias"].value, -1000);  // softplus is 0: nothing decays, nothing enters
  State s = m.mixer->make_state(1, 5, DType::f64);
  fill(s.field(s.root(), "h"), 2);
  m.forward(x, s);
  for (int64_t r = 0; r < s.field(s.root(), "h").rows(); ++r)
    for (int64_t c = 0; c < 16; ++c) CHECK(at(s.field(s.root(), "h"), r, c) == 2);
  fill(m["in.weight"].value.row_range(16, {16, 8}), 0);  // z = 0, silu(z) = 0
  CHECK(max_abs(m.forward(x)) == 0);
}
