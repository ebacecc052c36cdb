#include <doctest/doctest.h>

#include <cmath>
#include <set>

#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

TEST_CASE("mamba: starts as its authors' code does") {
  const BuiltMixer m("{type: mamba}", 40);  // rank 3, inner width 80
  CHECK(m["dt.weight"].shape == Shape{80, 3});
  CHECK(m["x_proj.weight"].shape == Shape{3 + 2 * 16, 80});
  const auto within = [&](const char* name, double bound) {
    const double most = max_abs(m[name].value);
    CHECK(most <= bound);
    CHECK(most > 0.9 * bound);
  };
  within("in.weight", 1 / std::sqrt(40.0));
  within("conv.weight", 0.5);
  within("conv.bias", 0.5);
  within("x_proj.weight", 1 / std::sqrt(80.0));
  within("dt.weight", 1 / std::sqrt(3.0));
  within("out.weight", 1 / std::sqrt(80.0 * 4));  // 2 layers, each with a channel mixer
  double least = 1, most = 0;
  for (int64_t c = 0; c < 80; ++c) {
    const double step = std::log1p(std::exp(at(m["dt.bias"].value, 0, c)));
    least = std::min(least, step);
    most = std::max(most, step);
    CHECK(at(m["d"].value, 0, c) == 1);
    for (int64_t n = 0; n < 16; ++n) CHECK(at(m["a_log"].value, c, n) == std::log(static_cast<double>(n + 1)));
  }
  CHECK(least > 1e-3 - 1e-9);
  CHECK(least < 1.5e-3);
  CHECK(most < 0.1 + 1e-9);
  CHECK(most > 0.07);
  std::set<std::string> free;
  for (const Parameter* p : m.store.sorted()) {
    if (!p->traits.decay) free.insert(p->name);
    CHECK(p->traits.lr_scale == 1);
  }
  CHECK(free == std::set<std::string>{"a_log", "conv.bias", "d", "dt.bias"});
}

TEST_CASE("mamba, mamba2: the output starts smaller by the root of what is added to the residual stream") {
  for (const char* type : {"mamba", "mamba2"})
    for (const bool with_ffn : {false, true})
      for (int64_t layers : {1, 6}) {
        const BuiltMixer m(fmt::format("{{type: {}}}", type), 64,
                           {.d_model = 64, .layer = 0, .layers = layers, .max_tokens = 64, .with_ffn = with_ffn});
        const double bound = 1 / std::sqrt(128.0 * static_cast<double>(layers) * (with_ffn ? 2 : 1));
        CHECK(max_abs(m["out.weight"].value) <= bound);
        CHECK(max_abs(m["out.weight"].value) > 0.99 * bound);
      }
}

TEST_CASE("mamba: parameters, state and cost in closed form") {
  const int64_t d = 12, i = 24, n = 5, w = 3, r = 2, tokens = 7, batch = 2;
  const BuiltMixer m("{type: mamba, state: 5, conv: 3, dt_rank: 2}", d);
  CHECK(m.store.count() == 2 * i * d + (w + 1) * i + (r + 2 * n) * i + i * r + i + i * n + i + d * i);
  for (int64_t length : {1, 100, 10000}) CHECK(site_of(*m.mixer)->bytes(length, DType::f32) == 4 * i * (n + w - 1));
  Meter meter;
  m.mixer->forward(random({batch, tokens, d}, 1), {});
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
  Context cx;
  cx.state = &s;
  m.mixer->forward(x, cx);
  for (int64_t r = 0; r < s.field(s.root(), "h").rows(); ++r)
    for (int64_t c = 0; c < 16; ++c) CHECK(at(s.field(s.root(), "h"), r, c) == 2);
  fill(m["in.weight"].value.row_range(16, {16, 8}), 0);  // z = 0, silu(z) = 0
  CHECK(max_abs(m.mixer->forward(x, {})) == 0);
}
