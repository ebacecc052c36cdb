#include <doctest/doctest.h>

#include "blocks/block.h"
#include "mixers/built_mixer.h"
#include "support/close.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kD = 8;
constexpr const char* kInside = "mixer: {type: attention, heads: 2, window: 5, dropout: 0.2}, ffn: mlp, dropout: 0.3";

struct Block : BuiltMixer {
  explicit Block(const std::string& options, int64_t layer = 0, int64_t layers = 1,
                 std::string_view name = "layer_drop")
      : BuiltMixer(all_blocks.find(name), "{" + options + "}", kD, layer, layers) {
    shake(0.3);
  }
};

Context training(int64_t first, State* state = nullptr, const Tensor* segments = nullptr) {
  Context cx;
  cx.phase = Phase::train;
  cx.seed = 5;
  cx.step = 2;
  cx.samples = first;
  cx.state = state;
  if (segments) cx.segments = *segments;
  return cx;
}

Tensor sequences(const Tensor& x, int64_t from, int64_t n) {
  const int64_t each = x.rows() / x.dim(0);
  return x.row_range(from * each, x.shape().with(0, n)).clone();
}

bool skipped(const Tensor& x, const Tensor& y, int64_t b) { return same_bits(sequences(x, b, 1), sequences(y, b, 1)); }

}  // namespace

TEST_CASE("layer_drop: samples skip it at the rate, which grows from 0 in the first layer where asked") {
  constexpr int64_t kSamples = 4000;
  const Tensor x = random({kSamples, 1, kD}, 1);
  const auto share = [&](const std::string& options, int64_t layer, int64_t layers) {
    const Block m("mixer: min_gru, " + options, layer, layers);
    const Tensor y = m.mixer->forward(x, training(0));
    int64_t n = 0;
    for (int64_t b = 0; b < kSamples; ++b) n += skipped(x, y, b);
    return static_cast<double>(n) / kSamples;
  };
  CHECK(close(share("rate: 0.4", 0, 3), 0.4, 0.08));
  CHECK(share("rate: 0.4, depth: exp", 0, 3) == 0);
  CHECK(close(share("rate: 0.4, depth: exp", 1, 3), 0.4 * (std::sqrt(2.0) - 1), 0.15));
  CHECK(close(share("rate: 0.4, depth: exp", 2, 3), 0.4, 0.08));
  CHECK(close(share("rate: 0.4, depth: exp", 0, 1), 0.4, 0.08));
}

TEST_CASE("layer_drop: with the exponential curriculum the rate grows from 0 to the whole, as LayerSkip's S(t)") {
  constexpr int64_t kSamples = 4000;
  const Tensor x = random({kSamples, 1, kD}, 1);
  const auto share = [&](const std::string& options, double progress, int64_t layer) {
    const Block m("mixer: min_gru, curriculum: exponential, " + options, layer, 3);
    Context cx = training(0);
    cx.progress = progress;
    const Tensor y = m.mixer->forward(x, cx);
    int64_t n = 0;
    for (int64_t b = 0; b < kSamples; ++b) n += skipped(x, y, b);
    return static_cast<double>(n) / kSamples;
  };
  CHECK(share("rate: 0.8", 0, 0) == 0);
  CHECK(close(share("rate: 0.8", 0.5, 0), 0.8 * (std::sqrt(2.0) - 1), 0.08));
  CHECK(close(share("rate: 0.8", 0.999, 0), 0.8, 0.05));
  CHECK(close(share("rate: 0.8, depth: exp", 0.5, 1), 0.8 * (std::sqrt(2.0) - 1) * (std::sqrt(2.0) - 1), 0.15));
  CHECK(share("rate: 0.8, depth: exp", 0.5, 0) == 0);
  // At the start of a run it is the residual block, to the bit.
  const Block m(std::string("rate: 0.9, curriculum: exponential, ") + kInside);
  Context whole = training(0);
  whole.progress = 0;
  CHECK(same_bits(m.mixer->forward(sequences(x, 0, 4), whole),
                  Block(kInside, 0, 1, "residual").mixer->forward(sequences(x, 0, 4), whole)));
}

TEST_CASE("layer_drop: which samples skip it, and what is dropped of the others, is their number's matter alone") {
  const Block m(std::string("rate: 0.5, ") + kInside);
  constexpr int64_t kBatch = 9;
  const Tensor x = random({kBatch, 7, kD}, 1), y = m.mixer->forward(x, training(20));
  int64_t n = 0;
  for (int64_t b = 0; b < kBatch; ++b) {
    n += skipped(x, y, b);
    const Tensor own = sequences(x, b, 1), alone = m.mixer->forward(own, training(20 + b));
    CHECK(skipped(own, alone, 0) == skipped(x, y, b));
    CHECK(max_diff(alone, sequences(y, b, 1)) < 1e-12);
  }
  CHECK(n > 0);
  CHECK(n < kBatch);
  Context other = training(20);
  other.step = 3;
  CHECK(max_diff(m.mixer->forward(x, other), y) > 0);
}

TEST_CASE("layer_drop: what a sample remembers stays as it was while it skips, up to the next document") {
  const Block m("rate: 0.5, mixer: {type: gla, heads: 2, conv: 3}, ffn: rwkv_channel_mix");
  constexpr int64_t kBatch = 6, kTokens = 5;
  const Tensor x = random({kBatch, kTokens, kD}, 1), more = random(x.shape(), 2);
  State before = m.mixer->make_state(kBatch, 3 * kTokens, DType::f64);
  Context first;
  first.state = &before;
  m.mixer->forward(x, first);
  const Tensor segments = Tensor::zeros({kBatch, kTokens}, DType::i64);
  for (int64_t b = kBatch / 2; b < kBatch; ++b)
    for (int64_t t = 2; t < kTokens; ++t) put(segments, b, t, 1);
  State after = before;
  const Tensor y = m.mixer->forward(more, training(0, &after, &segments));
  int64_t kept = 0, begun = 0;
  after.each([&](const StateField& f, const Tensor& t) {
    CAPTURE(f.path);
    before.each([&](const StateField& g, const Tensor& old) {
      if (f.path != g.path) return;
      for (int64_t b = 0; b < kBatch; ++b) {
        const Tensor now = take_sequences(t, {b}), then = take_sequences(old, {b});
        if (!skipped(more, y, b)) {
          CHECK_FALSE(same_bits(now, then));
          continue;
        }
        ++(b < kBatch / 2 ? kept : begun);
        CHECK(same_bits(now, b < kBatch / 2 ? then : Tensor::zeros(now.shape(), now.dtype())));
      }
    });
  });
  CHECK(kept > 0);
  CHECK(begun > 0);
}

TEST_CASE("layer_drop: outside training it is the residual block, with the same parameters") {
  const std::string inside = kInside;
  const Block m("rate: 0.9, " + inside);
  const Block plain(inside, 0, 1, "residual");
  const Tensor x = random({3, 7, kD}, 1);
  CHECK(same_bits(m.mixer->forward(x, {}), plain.mixer->forward(x, {})));
  CHECK(m.store.sorted().size() == plain.store.sorted().size());
  for (const Parameter* p : plain.store.sorted()) CHECK(same_bits(m[p->name].value, p->value));
}

TEST_CASE("layer_drop: a layer may have another rate than `block:` says, or another block") {
  const auto model = build_model(
      "{d_model: 8, block: {type: layer_drop, rate: 0.99, mixer: min_gru}, layers: [{}, {rate: 0}, {type: residual}]}",
      11);
  const Tensor x = random({1, 4, kD}, 1);
  CHECK(same_bits(model->run(x, 0, 1, training(0), nullptr), x));
  CHECK_FALSE(same_bits(model->run(x, 1, 2, training(0), nullptr), x));
  CHECK_FALSE(same_bits(model->run(x, 2, 3, training(0), nullptr), x));
  const auto used = [](const char* depth) {
    build_model(
        fmt::format("{{d_model: 8, layers: [{{id: a, type: layer_drop, depth: {}, mixer: min_gru}}, {{use: a}}]}}",
                    depth),
        11);
  };
  used("uniform");
  CHECK_THROWS_WITH_AS(used("exp"), doctest::Contains("layers at several places use this one"), ConfigError);
}

TEST_CASE("layer_drop: what earlier layers share goes with its sequence, and who may be left out shares nothing") {
  const std::string attention = "mixer: {type: attention, heads: 2, value_residual: 0.5}",
                    drop = "{type: layer_drop, rate: 0.5, " + attention + "}";
  const auto model = build_model("{d_model: 8, init: {std: 0.4}, layers: [{" + attention + "}, " + drop + "]}", 11);
  constexpr int64_t kBatch = 16;
  const Tensor ids = random_ids(kBatch, 5, 11, 1), y = model->body(ids, training(20), nullptr);
  for (int64_t b = 0; b < kBatch; ++b)
    CHECK(max_diff(model->body(sequences(ids, b, 1), training(20 + b), nullptr), sequences(y, b, 1)) < 1e-12);
  const auto first = [&](const std::string& layer) { build_model("{d_model: 8, layers: [" + layer + "]}", 11); };
  CHECK_THROWS_WITH_AS(first(drop), doctest::Contains("layers.0.mixer is the first to give `values`"), ConfigError);
  CHECK_NOTHROW(first("{type: layer_drop, rate: 0, " + attention + "}"));
}
