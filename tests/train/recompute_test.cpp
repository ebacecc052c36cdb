// train.recompute: block. The same numbers as without, from less memory.
#include <doctest/doctest.h>

#include <thread>

#include "checkpoint/checkpoint.h"
#include "config/node.h"
#include "ffn/ffn.h"
#include "mixers/mixer.h"
#include "optim/adamw.h"
#include "support/models.h"
#include "support/named.h"
#include "support/tensors.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 23, kRows = 4, kTokens = 11;

TokenizedText text() {
  TokenizedText t;
  for (int64_t i = 0; i < 1500; ++i) {
    t.tokens.push_back(static_cast<int32_t>((i * i + i / 7) % kVocab));
    if (i % 37 == 0) t.document_starts.push_back(i);
  }
  t.bytes = 1500;
  return t;
}

struct Trained {
  std::vector<double> numbers;  // loss and norm of each step
  std::string parameters;       // their digest
  std::vector<Tensor> states;
};

Trained train(const std::string& model_yaml, bool recompute, bool carry, int64_t lanes, int64_t steps = 3) {
  const auto model = build_model(model_yaml, kVocab, kTokens, DType::f32);
  const TokenizedText source = text();
  const auto order = build_order(carry ? "streams" : "shuffled_windows", source, {kRows, kTokens}, 1, true);
  AdamW optimizer(OptimOptions(), {}, model->params());
  Trainer trainer(*model, next_token(), optimizer, plan_shards(kRows, kTokens, lanes, kTokens, model->params().count()),
                  {.seed = 3, .carry_state = carry, .recompute = recompute});
  Trained t;
  for (int64_t step = 0; step < steps; ++step) {
    const StepResult r = trainer.step(order->at(step * kRows), step, 1);
    REQUIRE(r.finite);
    t.numbers.insert(t.numbers.end(), {r.loss, r.grad_norm});
  }
  t.parameters = parameter_hash(model->params());
  for (const NamedTensor& s : trainer.carried()) t.states.push_back(s.value.clone());
  return t;
}

void compare(const std::string& model_yaml, bool carry, int64_t lanes) {
  CAPTURE(model_yaml);
  CAPTURE(carry);
  const Trained plain = train(model_yaml, false, carry, lanes), again = train(model_yaml, true, carry, lanes);
  CHECK(plain.numbers == again.numbers);
  CHECK(plain.parameters == again.parameters);
  REQUIRE(plain.states.size() == again.states.size());
  for (size_t i = 0; i < plain.states.size(); ++i) CHECK(same_bits(plain.states[i], again.states[i]));
}

std::string model_of(const std::string& layers) {
  return "{d_model: 8, dropout: 0.1, init: {std: 0.4}, layers: [" + layers + "]}";
}

// Most that a thread's pool has handed out over two steps.
size_t peak(bool recompute) {
  size_t bytes = 0;
  std::jthread([&] {
    const auto model = build_model(
        "{d_model: 32, dropout: 0.1, block: {ffn: {type: swiglu}}, layers: [{repeat: 8, of: [{mixer: {type: gla, "
        "heads: 2}}]}]}",
        kVocab, 64, DType::f32);
    AdamW optimizer(OptimOptions(), {}, model->params());
    Trainer trainer(*model, next_token(), optimizer, plan_shards(4, 64, 1, 256, model->params().count()),
                    {.recompute = recompute});
    Batch batch{.batch = 4, .tokens = 64, .inputs = {}, .targets = {}, .segments = {}};
    batch.inputs.assign(256, 1);
    batch.targets.assign(256, 2);
    for (int64_t step = 0; step < 2; ++step) trainer.step(batch, step, 1);
    bytes = BufferPool::local().peak_bytes();
  }).join();
  return bytes;
}

}  // namespace

TEST_CASE("recompute: every mechanism's training has the same bits, with dropout and documents") {
  const Threads one(1);
  for (const LayerInfo* m : all_mixers) {
    if (!m->causal_form) continue;
    ConfigNode mixer = parse_config(m->tiny, "tiny");
    mixer.set("type", m->name);
    const std::string layer = "{mixer: " + to_flow_yaml(mixer) + "}";
    compare(model_of(layer + ", " + layer), false, 2);
  }
  for (const LayerInfo* m : all_ffns)
    if (m->causal_form) compare(model_of("{mixer: min_gru, ffn: {type: " + std::string(m->name) + "}}"), false, 2);
}

TEST_CASE("recompute: the same bits where rows carry their state, where layers share weights, with any threads") {
  const std::string carried =
      "{mixer: {type: attention, heads: 2, window: 9, sinks: 1, dropout: 0.1, value_residual: 0.5}, ffn: mlp}, {id: a, "
      "mixer: {type: gla, "
      "heads: 2, gate_rank: 3, conv: 3}}, {mixer: {type: parallel, branches: [{type: rwkv6, head_dim: 4}, {type: "
      "lstm}]}, ffn: {type: rwkv_channel_mix, expand: 2}}, {use: a}, {mixer: hgrn}, {type: layer_drop, rate: 0.5, "
      "mixer: {type: gla, heads: 2}, ffn: "
      "{type: rwkv_channel_mix}}, {type: layer_drop, rate: 0.5, mixer: {type: attention, window: 5, value_residual: "
      "0.5}}, {mixer: {type: attention, window: 4, heads: 2, value_residual: 0.3}}";
  for (const int threads : {1, 2}) {
    const Threads n(threads);
    for (const int64_t lanes : {1, 4}) compare(model_of(carried), true, lanes);
  }
  const Threads one(1);
  compare("{positions: learned, " +
              model_of("{mixer: {type: attention, heads: 2}}, {mixer: {type: mla, heads: 2}}").substr(1),
          false, 1);
}

TEST_CASE("recompute: eight blocks take less than half the memory") {
  const Threads one(1);
  const size_t plain = peak(false), again = peak(true);
  CAPTURE(plain);
  CAPTURE(again);
  CHECK(again < plain / 2);
}

namespace {

// Says that it gives a value, and does not.
class Forgetful final : public Layer {
 public:
  Forgetful(const LayerArgs&, const Scope&) {}
  void declare(Site& site) const override {
    site.count_tokens();
    site.gives("v", 1);
  }
  bool counts_tokens() const override { return true; }

 protected:
  Tensor run(const Tensor& x, const Call& call) const override {
    call.advance(x.dim(1));
    return x;
  }
};
constexpr LayerInfo kForgetful = LayerInfo::of<Forgetful>({.name = "forgetful",
                                                           .title = "A layer that gives nothing",
                                                           .family = "block",
                                                           .recurrence = "none",
                                                           .paper = "none",
                                                           .source = "none"});
constexpr const LayerInfo* kOwn[] = {&kForgetful};
constexpr List<LayerInfo> kOwnBlocks{"block", kOwn};

}  // namespace

TEST_CASE("recompute: a layer that does not give what it says it gives is told by its place") {
  ModelConfig config = read_model_config(parse_config(model_of("{mixer: min_gru}"), "test"), kTokens);
  config.layers[0].block = Choice<LayerInfo>(kOwnBlocks, "forgetful");
  LanguageModel model(config, kVocab);
  model.params().materialize(1, DType::f32);
  Context cx;
  cx.recompute = true;
  Tape tape;
  const Tape::Recording recording(tape);
  CHECK_THROWS_WITH_AS(model.body(random_ids(1, 4, kVocab, 1), cx, nullptr),
                       doctest::Contains("`layers.0` says in declare() that it gives `v`, and has not"), Error);
}
