#include "model/describe.h"

#include <doctest/doctest.h>

#include "support/models.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kD = 24, kVocab = 31, kTokens = 20;

ModelConfig one_layer(const std::string& layer, const std::string& more = "") {
  return read_model_config(parse_config("{d_model: 24, " + more + "layers: [" + layer + "]}", "t"), kTokens);
}

ModelCost cost_of(const std::string& layer) { return count_cost(one_layer(layer), kVocab, kTokens); }

// FLOPs of one kind of op in one forward pass over kTokens tokens, on shapes alone.
double forward_flops(const std::string& layer, std::string_view op) {
  LanguageModel model(one_layer(layer), kVocab);
  model.params().as_meta(DType::f32);
  const MetaMode meta;
  Meter meter;
  model.run(Tensor::empty({1, kTokens, kD}, DType::f32), 0, 1, {}, nullptr);
  const auto it = meter.by_op.find(op);
  return it == meter.by_op.end() ? 0 : it->second.cost.forward_flops;
}

struct Expected {
  const char* layer;
  int64_t weights, vectors;  // of matrices that multiply; all other parameters but the norm
  int64_t other;             // matrices that don't multiply dense rows (convolutions)
  int64_t state_bytes;       // after kTokens tokens, f32
};

// Widths of the layers: D = 24.
constexpr int64_t kHeadDim = 6, kGlaKeys = 12, kGlaValues = 24, kMlp = 48, kSwiglu = 64;
constexpr Expected kExpected[] = {
    {"{mixer: {type: attention, heads: 4}}", 4 * kD* kD, 0, 0, kTokens * 2 * kD * 4},
    {"{mixer: {type: attention, heads: 4, kv_heads: 2, bias: true, qk_norm: true}}",
     kD* kD + 2 * kD * 2 * kHeadDim + kD* kD, (kD + 4 * kHeadDim) + kD + 2 * kHeadDim, 0,
     kTokens * 2 * 2 * kHeadDim * 4},
    {"{mixer: {type: attention, heads: 4, window: 7, sinks: 2}}", 4 * kD* kD, 0, 0, (7 - 1 + 2) * 2 * kD * 4},
    {"{mixer: {type: min_gru}}", kD * 2 * kD, 0, 0, kD * 4},
    {"{mixer: {type: min_gru, expand: 2, conv: 4}}", kD * 4 * kD + 2 * kD* kD, 0, 4 * kD, (2 * kD + 3 * kD) * 4},
    {"{mixer: {type: gla, heads: 2, gate_rank: 5, conv: 3}}",
     kD * 2 * (kGlaKeys + kGlaValues) + kGlaValues* kD + kD * 5 + 5 * kGlaKeys, kGlaKeys + kGlaValues / 2,
     3 * (2 * kGlaKeys + kGlaValues), (kGlaKeys * kGlaValues / 2 + 2 * (2 * kGlaKeys + kGlaValues)) * 4},
    {"{mixer: {type: gla, heads: 2, gate: head}}", kD * 2 * (kGlaKeys + kGlaValues) + kGlaValues* kD + kD * 2,
     2 + kGlaValues / 2, 0, kGlaKeys* kGlaValues / 2 * 4},
    {"{mixer: min_gru, ffn: {type: mlp, expand: 2, bias: true}}", kD * 2 * kD + 2 * kD* kMlp, kMlp + kD, 0, kD * 4},
    {"{mixer: min_gru, ffn: {type: swiglu}}", kD * 2 * kD + 3 * kD* kSwiglu, 0, 0, kD * 4},
};

}  // namespace

TEST_CASE("describe: parameters, dense FLOPs and state bytes are the closed forms") {
  for (const Expected& e : kExpected) {
    const std::string layer = e.layer;
    INFO(layer);
    const ModelCost c = cost_of(layer);
    REQUIRE(c.layers.size() == 3);
    const int64_t norms = layer.find("ffn") == std::string::npos ? kD : 2 * kD;
    CHECK(c.layers[1].parameters == e.weights + e.vectors + e.other + norms);
    CHECK(c.layers[0].parameters == kVocab * kD);
    CHECK(c.layers[2].parameters == kD);  // the final norm; the head is tied
    CHECK(c.layers[1].state_bytes == e.state_bytes);
    // Two FLOPs a weight and token, one for each offset of a dense layer.
    const double dense = forward_flops(layer, "linear");
    CHECK(dense >= 2.0 * kTokens * static_cast<double>(e.weights));
    CHECK(dense <= 2.0 * kTokens * static_cast<double>(e.weights) + kTokens * static_cast<double>(e.vectors));
    CHECK(c.layers[1].prefill_flops * kTokens >= dense);
    CHECK(c.layers[1].train_flops > 2.5 * c.layers[1].prefill_flops);
    CHECK(c.layers[1].train_flops < 3.6 * c.layers[1].prefill_flops);
  }
}

TEST_CASE("describe: the sequence cores count what they do for each pair or state") {
  CHECK(forward_flops("{mixer: {type: attention, heads: 4}}", "attention") == 4 * kD * kTokens * (kTokens + 1) / 2);
  // A window of 7: the first six tokens see fewer.
  CHECK(forward_flops("{mixer: {type: attention, heads: 4, window: 7}}", "attention") ==
        4 * kD * (1 + 2 + 3 + 4 + 5 + 6 + 7 * (kTokens - 6)));
  CHECK(forward_flops("{mixer: {type: gla, heads: 2}}", "gla") == 4 * kTokens * kGlaKeys * kGlaValues / 2);
  CHECK(forward_flops("{mixer: {type: min_gru}}", "gated_scan") == (2 * 8 + 3) * kTokens * kD);  // two exponentials
}

TEST_CASE("describe: the layers add up to the model") {
  for (const char* more :
       {"", "dropout: 0.1, positions: learned, tie_embeddings: false, block: {norm: layer_norm}, "}) {
    const ModelConfig config = one_layer(
        "{id: a, mixer: {type: attention, window: 5, value_residual: 0.5}, ffn: mlp}, {mixer: {type: gla, heads: 2}}, "
        "{use: a}",
        more);
    const ModelCost c = count_cost(config, kVocab, kTokens);
    LanguageModel model(config, kVocab);
    model.params().as_meta(DType::f32);
    CHECK(c.total.parameters == model.params().count());
    CHECK(c.layers[3].what == "layers.2 attention + mlp (as 0)");
    CHECK(c.layers[3].parameters == 0);
    double rows = 0;
    for (const LayerCost& l : c.layers) rows += l.train_flops;
    CHECK(rows == doctest::Approx(train_flops_per_token(model, kTokens)).epsilon(1e-12));
    CHECK(c.total.train_flops == doctest::Approx(rows).epsilon(1e-12));
    CHECK(c.total.state_bytes == build_model(to_yaml(write_model_config(config)), kVocab, kTokens, DType::f32)
                                     ->site()
                                     .bytes(kTokens, DType::f32));
    // One token decoded after 256 others: layer by layer, and by the whole model.
    CHECK(count_cost(config, kVocab, 256).total.decode_flops == doctest::Approx(c.lengths[0].decode_flops));
    CHECK(c.lengths[0].tokens == 256);
    const ModelCost at256 = count_cost(config, kVocab, 256);
    CHECK(c.lengths[0].train_flops == doctest::Approx(at256.total.train_flops));
    CHECK(c.lengths[0].prefill_flops == doctest::Approx(at256.total.prefill_flops));
    CHECK(c.lengths[0].kept_bytes == doctest::Approx(at256.kept_bytes / 256));
  }
  // Heads that read one stream have their gradients added up.
  const auto objective = all_objectives.read(parse_config("{type: multi_token, tokens: 4}", "o.yaml")).build();
  const auto heads = build_model_for(*objective, "{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}", kVocab,
                                     kTokens, DType::f32);
  const ModelCost several = count_cost(heads->config(), kVocab, kTokens);
  CHECK(several.total.train_flops == train_flops_per_token(*heads, kTokens));
  double parts = 0;
  for (const LayerCost& l : several.layers) parts += l.train_flops;
  CHECK(parts < several.total.train_flops);
  CHECK(parts == doctest::Approx(several.total.train_flops).epsilon(0.01));
  const ModelConfig floors = one_layer("{mixer: hgrn}, {mixer: hgrn}");
  const ModelCost c = count_cost(floors, kVocab, kTokens);
  CHECK(c.total.parameters == LanguageModel(floors, kVocab).params().count());
  CHECK(c.layers[3].what == "shared by layers");
  CHECK(c.layers[3].parameters == 2 * kD);
}

TEST_CASE("describe: blocks that run again cost their forward once more, and keep their inputs alone") {
  const ModelConfig config = one_layer(
      "{mixer: {type: attention, heads: 4}, ffn: mlp}, {mixer: {type: gla, heads: 2}}, {mixer: {type: "
      "attention, value_residual: 0.5}}, {mixer: {type: attention, value_residual: 0.5}}");
  const ModelCost once = count_cost(config, kVocab, kTokens), again = count_cost(config, kVocab, kTokens, true);
  double blocks = 0;
  for (size_t i = 0; i < once.layers.size(); ++i) {
    const bool block = once.layers[i].what.starts_with("layers.");
    const double more = block ? once.layers[i].prefill_flops : 0;
    CHECK(again.layers[i].train_flops == doctest::Approx(once.layers[i].train_flops + more));
    blocks += more;
  }
  CHECK(blocks > 0);
  CHECK(again.total.train_flops == doctest::Approx(once.total.train_flops + blocks));
  CHECK(again.total.prefill_flops == once.total.prefill_flops);
  LanguageModel model(config, kVocab);
  model.params().materialize(1, DType::f32);
  CHECK(train_flops_per_token(model, kTokens, true) == doctest::Approx(again.total.train_flops));
  const Tensor ids = random_ids(1, kTokens, kVocab, 1);
  Context cx;
  cx.phase = Phase::train;
  cx.recompute = true;
  Tape tape;
  {
    const Tape::Recording recording(tape);
    model.loss(ids, ids, 1, cx);
  }
  CHECK(again.kept_bytes == static_cast<double>(tape.kept_bytes()));
  CHECK(again.kept_bytes < once.kept_bytes / 2);
}

TEST_CASE("describe: decoding costs more with every token of full attention, and nothing more of a fixed state") {
  const ModelCost full = cost_of("{mixer: {type: attention, heads: 4}}"),
                  fixed = cost_of("{mixer: {type: gla, heads: 2}}, {mixer: {type: attention, heads: 4, window: 16}}");
  for (size_t i = 1; i < full.lengths.size(); ++i) {
    const auto more = static_cast<double>(full.lengths[i].tokens - full.lengths[i - 1].tokens);
    CHECK(full.lengths[i].decode_flops - full.lengths[i - 1].decode_flops == doctest::Approx(4 * kD * more));
    CHECK(full.lengths[i].cache_bytes == full.lengths[i].state_bytes);  // one layer of attention is the measure
    CHECK(full.lengths[i].state_bytes == full.lengths[i].tokens * 2 * kD * 4);
    CHECK(fixed.lengths[i].decode_flops == fixed.lengths[0].decode_flops);
    CHECK(fixed.lengths[i].state_bytes == fixed.lengths[0].state_bytes);
  }
}

TEST_CASE("describe: the bytes kept for backward are those of a real run") {
  for (const Expected& e : kExpected) {
    for (const char* more : {"", "dropout: 0.3, positions: learned, "}) {
      INFO(e.layer);
      const ModelConfig config = one_layer(e.layer, more);
      LanguageModel model(config, kVocab);
      model.params().materialize(1, DType::f32);
      const Tensor ids = random_ids(1, kTokens, kVocab, 1);
      Context cx;
      cx.phase = Phase::train;
      Tape tape;
      {
        const Tape::Recording recording(tape);
        model.loss(ids, ids, 1, cx);
      }
      CHECK(count_cost(config, kVocab, kTokens).kept_bytes == static_cast<double>(tape.kept_bytes()));
    }
  }
}

TEST_CASE("describe: where tokens see each other there is no state, all scores count, and a step runs over all") {
  ModelConfig config = one_layer("{mixer: {type: attention, heads: 4}}");
  const ModelCost causal = count_cost(config, kVocab, kTokens);
  config.causal = false;
  config.extra_ids = 1;
  const ModelCost both = count_cost(config, kVocab, kTokens);
  CHECK(both.total.parameters == causal.total.parameters + kD);
  CHECK(both.total.state_bytes == 0);
  CHECK(both.lengths[0].state_bytes == 0);
  CHECK(both.total.decode_flops == doctest::Approx(both.total.prefill_flops * kTokens));
  CHECK(both.lengths[0].decode_flops == doctest::Approx(both.lengths[0].prefill_flops * 256));
  // Scores and sums over values, 2 D FLOPs each, of every pair in place of the lower half.
  CHECK(model_flops_per_token(config, kVocab, kTokens) - model_flops_per_token(one_layer("{mixer: {type: attention, "
                                                                                         "heads: 4}}"),
                                                                               kVocab, kTokens) ==
        doctest::Approx(3 * 4 * kD * (kTokens - 1) / 2.0));
}
