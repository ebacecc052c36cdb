#include "model/language_model.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "autodiff/profile.h"
#include "base/random.h"
#include "ops/arithmetic.h"
#include "ops/dropout.h"
#include "support/gradients.h"
#include "support/models.h"
#include "support/tensors.h"
#include "verify/verify.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 11;

// Large initial weights, so that what comes next depends on what came before.
constexpr std::string_view kHybrids[] = {
    "{d_model: 8, init: {std: 0.4}, block: {ffn: {type: swiglu}}, layers: [{mixer: {type: attention, heads: 2}}, "
    "{mixer: {type: gla, heads: 2, gate_rank: 3, conv: 3}, ffn: none}, {mixer: {type: min_gru, conv: 3}}]}",
    "{d_model: 8, positions: learned, max_tokens: 17, tie_embeddings: false, init: {std: 0.4}, block: {norm: "
    "{type: layer_norm, bias: true}, ffn: {type: mlp, bias: true}}, layers: [{mixer: {type: attention, heads: 2, "
    "position: none}}, {mixer: {type: min_gru, expand: 2}}]}",
    "{d_model: 8, init: {std: 0.4}, layers: [{id: a, mixer: {type: attention, heads: 4, kv_heads: 2, head_dim: 4, "
    "window: 5, sinks: 1, qk_norm: true, value_residual: 0.5}}, {mixer: {type: gla, heads: 2, gate: head}}, {use: a}, "
    "{mixer: {type: attention, heads: 2, window: 4, position: alibi, value_residual: 0.3}}, {mixer: hgrn}, {mixer: "
    "hgrn}]}",
    "{d_model: 8, init: {std: 0.4}, block: {ffn: {type: rwkv_channel_mix, expand: 2}}, layers: [{mixer: {type: rwkv6, "
    "head_dim: 4, shift_rank: 3, decay_rank: 2}}, {id: a, mixer: {type: mamba2, head_dim: 4, state: 3}}, {use: a}, "
    "{mixer: {type: retnet, heads: 2}, ffn: none}]}",
};

}  // namespace

TEST_CASE("language model: all forms of hybrids agree, and what came before counts") {
  const Poison poison;
  const Threads one(1);
  for (const std::string_view yaml : kHybrids) {
    INFO(yaml);
    const auto model = build_model(yaml, kVocab, 16);
    const Tensor ids = random_ids(2, 17, kVocab, 1);
    for (const Finding& f : verify(*model, ids, {})) CHECK_MESSAGE(f.passed, f.check, " ", f.where, " ", f.worst);
    const Tensor before = model->logits(ids, {});
    ids.data<int32_t>()[7] = (ids.data<int32_t>()[7] + 1) % kVocab;
    CHECK(max_diff(tokens(before, 16, 17), tokens(model->logits(ids, {}), 16, 17)) > 1e-6);
  }
}

TEST_CASE("language model: the gradient of the loss agrees with differences, tied embeddings and dropout included") {
  const Poison poison;
  const Threads one(1);
  // The candidate g of minGRU has a kink that differences may step over.
  const auto smooth = [](std::string yaml) {
    for (size_t at = 0; (at = yaml.find("min_gru", at)) != yaml.npos; at += 7)
      yaml.insert(at + 7, ", candidate: linear");
    return yaml;
  };
  for (const std::string& hybrid : {std::string(kHybrids[0]), std::string(kHybrids[1]), std::string(kHybrids[2]),
                                    "{dropout: 0.2, " + std::string(kHybrids[0]).substr(1)}) {
    const std::string yaml = smooth(hybrid);
    INFO(yaml);
    const auto model = build_model(yaml, kVocab, 16);
    const Tensor x = random_ids(2, 9, kVocab, 4), y = random_ids(2, 9, kVocab, 5);
    y.data<int32_t>()[3] = -1;  // carries no loss
    Context cx;
    cx.phase = Phase::train;
    cx.seed = 3, cx.step = 7, cx.samples = 5;
    const auto loss = [&] { return model->loss(x, y, 1.0 / 17, cx); };
    check_directions(*model, loss, 1e-4, [](std::string_view) { return true; });
  }
}

TEST_CASE("language model: layers that share weights have states of their own") {
  const Threads one(1);
  const auto model = build_model(
      "{d_model: 8, init: {std: 0.4}, layers: [{id: a, mixer: {type: min_gru}, ffn: mlp}, {use: a}, {use: a}]}",
      kVocab);
  const auto alone =
      build_model("{d_model: 8, init: {std: 0.4}, layers: [{mixer: {type: min_gru}, ffn: mlp}]}", kVocab);
  CHECK(model->params().count() == alone->params().count());
  CHECK(model->layers() == 3);
  CHECK(&model->block(1) == &model->block(0));
  State state = model->make_state(1, 4);
  model->logits(random_ids(1, 4, kVocab, 1), {}, &state);
  const auto h = [&](int64_t layer) { return state.field(model->layer_site(layer)["mixer"], "h"); };
  CHECK(max_diff(h(0), h(1)) > 1e-3);
  CHECK(max_diff(h(1), h(2)) > 1e-3);
  CHECK(model->site().bytes(4, DType::f64) == 3 * alone->site().bytes(4, DType::f64));
}

TEST_CASE("language model: layers that share weights have taps, dropout masks and profile rows of their own") {
  const Threads one(1);
  constexpr std::string_view kYaml =
      "{d_model: 8, init: {std: 0.4}, dropout: 0.5, layers: [{id: a, mixer: {type: min_gru}, ffn: mlp}, {use: a}]}";
  const auto model = build_model(kYaml, kVocab);
  const Tensor ids = random_ids(1, 9, kVocab, 1);
  std::map<std::string, Tensor> seen;
  const Tensor same = random({1, 9, 8}, 7);
  const Taps taps = [&](std::string_view name, const Tensor& value) {
    CHECK(seen.emplace(name, value.clone()).second);
    return name.ends_with(".residual") ? value : same;  // what is dropped is the same everywhere
  };
  Context cx;
  cx.phase = Phase::train;
  cx.seed = 3, cx.step = 4, cx.samples = 0;
  cx.taps = &taps;
  Profile profile;
  const Tensor x = Tensor::zeros({1, 9, 8}, DType::f64);
  const Tensor y = model->run(x, 0, 1, cx, nullptr), z = model->run(x, 1, 2, cx, nullptr);
  CHECK(seen.contains("layers.0.mixer.out"));
  CHECK(seen.contains("layers.1.mixer.out"));
  CHECK(seen.contains("layers.1.residual"));
  CHECK(profile.chrome_trace().find("layers.1.ffn") != std::string::npos);
  CHECK(max_diff(y, z) > 1e-3);  // sums of the same values under two masks each
  // A layer used once has the mask of its name.
  Tensor expected = Tensor::zeros(x.shape(), DType::f64);
  for (const char* site : {"layers.1.mixer.dropout", "layers.1.ffn.dropout"})
    expected = add(expected, dropout(same, 0.5, RandomStream(3, site, 4), 0));
  CHECK(same_bits(z, expected));
}

TEST_CASE("language model: taps see the values, and what they return is used") {
  const Threads one(1);
  const auto model = build_model(kHybrids[0], kVocab, 16);
  const Tensor ids = random_ids(1, 6, kVocab, 6);
  std::map<std::string, Tensor> seen;
  const Taps record = [&](std::string_view name, const Tensor& value) {
    CHECK(seen.emplace(name, value.clone()).second);
    return value;
  };
  Context cx;
  cx.taps = &record;
  const Tensor plain = model->logits(ids, {});
  CHECK(same_bits(model->logits(ids, cx), plain));
  std::string names;
  for (const auto& [name, value] : seen) names += name + " ";
  CHECK(names ==
        "embedding.out layers.0.ffn.out layers.0.mixer.out layers.0.residual layers.1.mixer.out layers.1.residual "
        "layers.2.ffn.out layers.2.mixer.out layers.2.residual ");
  CHECK(max_diff(model->head(seen["layers.2.residual"]), plain) == 0);

  // A decoded token shows the same places.
  std::string decoded;
  const Taps list = [&](std::string_view name, const Tensor& value) {
    CHECK(value.shape() == Shape{1, 1, 8});
    decoded += std::string(name) + " ";
    return value;
  };
  State state = model->make_state(1, 7);
  model->logits(ids, {}, &state);
  Context one_token;
  one_token.taps = &list;
  model->logits(random_ids(1, 1, kVocab, 6), one_token, &state);
  CHECK(decoded ==
        "embedding.out layers.0.mixer.out layers.0.ffn.out layers.0.residual layers.1.mixer.out layers.1.residual "
        "layers.2.mixer.out layers.2.ffn.out layers.2.residual ");

  // A residual stream put in place decides all that follows.
  const Tensor other = random({1, 6, 8}, 7);
  const Taps replace = [&](std::string_view name, const Tensor& value) {
    return name == "layers.1.residual" ? other : value;
  };
  cx.taps = &replace;
  CHECK(max_diff(model->logits(ids, cx), model->head(model->run(other, 2, 3, {}, nullptr))) < 1e-12);
  CHECK(max_diff(model->logits(ids, cx), plain) > 1e-3);
}

TEST_CASE("language model: run(from, to) composes") {
  for (const std::string_view yaml : kHybrids) {
    const Threads one(1);
    const auto model = build_model(yaml, kVocab, 16);
    const Tensor ids = random_ids(2, 7, kVocab, 8);
    const Tensor x = model->embed(ids, {}, nullptr);
    const int64_t n = model->layers();
    const Tensor whole = model->run(x, 0, n, {}, nullptr);
    for (int64_t cut = 0; cut <= n; ++cut) {
      const Context cx;  // with the shelf of both
      CHECK(same_bits(model->run(model->run(x, 0, cut, cx, nullptr), cut, n, cx, nullptr), whole));
    }
    CHECK(max_diff(model->head(whole), model->logits(ids, {})) < 1e-12);
  }
}

TEST_CASE("language model: beyond its learned positions there is a DataError, in whole and token by token") {
  const Threads one(1);
  const auto model = build_model(kHybrids[1], kVocab, 16);
  CHECK(model->longest() == 17);
  CHECK_NOTHROW(model->logits(random_ids(1, 17, kVocab, 1), {}));
  CHECK_THROWS_WITH_AS(model->logits(random_ids(1, 18, kVocab, 1), {}),
                       "the model has learned positions for 17 tokens and can't follow a longer sequence", DataError);
  State state = model->make_state(1, 20);
  model->logits(random_ids(1, 17, kVocab, 1), {}, &state);
  CHECK_THROWS_AS(model->logits(random_ids(1, 1, kVocab, 1), {}, &state), DataError);
  CHECK(build_model(kHybrids[0], kVocab, 16)->longest() > int64_t{1} << 40);
}
