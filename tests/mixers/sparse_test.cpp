#include "mixers/built_mixer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

double dense_flops(const BuiltMixer& m, int64_t batch, int64_t tokens, int64_t width) {
  Meter meter;
  m.forward(random({batch, tokens, width}, 1));
  return meter.total.dense_flops;
}

}  // namespace

TEST_CASE("moba: initial values, parameters, state and products in closed form") {
  const int64_t d = 64, block = 8, top_k = 3;
  const BuiltMixer m("moba", "{heads: 4, block: 8, top_k: 3}", d);
  CHECK(m.store.count() == 4 * d * d);
  m.check_deviation("qkv.weight", 0.02, 0.05);
  m.check_deviation("out.weight", 0.02 / std::sqrt(2.0), 0.05);  // one layer
  for (int64_t n : {1, 8, 100}) CHECK(m.bytes(n) == 4 * d * (2 * n + (n + 7) / 8));
  for (int64_t n : {5, 24, 50}) {
    int64_t keys = 0;
    for (int64_t t = 0; t < n; ++t) keys += std::min(top_k * block, t + 1);
    CHECK(dense_flops(m, 2, n, d) == static_cast<double>(2 * (2 * n * 4 * d * d + 2 * 2 * keys * d)));
  }
}

TEST_CASE("moba: with room for every block it is softmax attention") {
  const BuiltMixer m("{type: moba, heads: 2, block: 3, top_k: 5}", 8), full("{type: attention, heads: 2}", 8);
  const Tensor x = random({2, 14, 8}, 1);
  copy(m["qkv.weight"].value, full["qkv.weight"].value);
  copy(m["out.weight"].value, full["out.weight"].value);
  CHECK(max_diff(m.forward(x), full.forward(x)) < 1e-14);
  const BuiltMixer few("{type: moba, heads: 2, block: 3, top_k: 2}", 8);
  const Tensor y = few.forward(x), z = full.forward(x);
  CHECK(max_diff(tokens(y, 0, 6), tokens(z, 0, 6)) < 1e-14);
  CHECK(max_diff(y, z) > 1e-9);
}

TEST_CASE("nsa: initial values, parameters, state and products in closed form") {
  const int64_t d = 32, h = 4, g = 2, n = 8, length = 8, stride = 4, hidden = 2 * n, window = 6;
  const BuiltMixer m(
      "nsa", "{heads: 4, kv_heads: 2, compress_block: 8, compress_stride: 4, select_block: 8, select: 4, window: 6}",
      d);
  const int64_t mlp = length * n + hidden * length * n + hidden + n * hidden + n;
  CHECK(m.store.count() == 2 * d * h * n + 6 * g * n * d + 3 * h * d + 2 * mlp);
  m.check_deviation("out.weight", 0.02 / std::sqrt(2.0), 0.1);  // one layer
  for (const char* name : {"q.weight", "kv.weight", "gate.weight"}) m.check_deviation(name, 0.02, 0.1);
  CHECK(max_abs(m["compress_k.position"].value) == 0);
  for (const char* name : {"compress_v.up.weight", "compress_v.up.bias"})
    m.check_uniform(name, 1 / std::sqrt(static_cast<double>(length * n)), 0.8);
  CHECK_FALSE(m.store.find("compress_k.position")->traits.decay);
  const auto summaries = [&](int64_t t) { return t < length ? 0 : (t - length) / stride + 1; };
  for (int64_t t : {1, 8, 100})
    CHECK(m.bytes(t) ==
          4 * 2 * g * n * (t + std::min(window - 1, t) + std::max<int64_t>(1, summaries(t)) + std::min(length - 1, t)));
  for (int64_t t : {12, 33, 60}) {
    int64_t selected = 0, seen = 0, near = 0;
    for (int64_t i = 0; i < t; ++i) {
      selected += std::min<int64_t>(4 * 8, i + 1);
      seen += summaries(i + 1);
      near += std::min(window, i + 1);
    }
    const int64_t projections = t * (2 * d * h * n + 6 * g * n * d + 3 * h * d);
    const int64_t compression = 2 * summaries(t) * g * (hidden * length * n + n * hidden);
    CHECK(dense_flops(m, 2, t, d) ==
          static_cast<double>(2 * 2 * (projections + compression + 2 * h * n * (selected + seen + near))));
  }
}

TEST_CASE(
    "nsa: before the first block vector its branch gives nothing, and with the window as wide as the text it is "
    "attention") {
  const BuiltMixer m(
      "{type: nsa, heads: 2, kv_heads: 1, compress_block: 8, compress_stride: 4, select_block: 4, window: 16}", 8);
  const Tensor x = random({1, 16, 8}, 1), y = m.forward(x);
  const auto with = [&](const char* name, double value) {
    fill(m[name].value, value);
    return m.forward(x);
  };
  const Tensor z = with("compress_v.down.bias", 5);
  CHECK(max_diff(tokens(z, 0, 7), tokens(y, 0, 7)) == 0);
  CHECK(max_diff(tokens(z, 7, 16), tokens(y, 7, 16)) > 1e-6);
  // Without the compressed branch's values, both other branches see all 16 tokens: each weighs by its own keys.
  for (const char* name : {"compress_v.down.weight", "compress_v.down.bias", "gate.weight"}) with(name, 0);
  const BuiltMixer full("{type: attention, heads: 2, kv_heads: 1}", 8);
  const auto branch = [&](int64_t from) {  // rows of kv: k and v of the branch
    for (int64_t c = 0; c < 8; ++c) {
      for (int64_t r = 0; r < 8; ++r) put(full["qkv.weight"].value, r, c, at(m["q.weight"].value, r, c));
      for (int64_t r = 0; r < 8; ++r) put(full["qkv.weight"].value, 8 + r, c, at(m["kv.weight"].value, from + r, c));
    }
    copy(m["out.weight"].value, full["out.weight"].value);
    return full.forward(x).clone();
  };
  const Tensor a = branch(8), b = branch(16), got = m.forward(x);
  for (int64_t r = 0; r < 16; ++r)
    for (int64_t c = 0; c < 8; ++c)
      CHECK(at(got, r, c) == doctest::Approx((at(a, r, c) + at(b, r, c)) / 2).epsilon(1e-10));
}
