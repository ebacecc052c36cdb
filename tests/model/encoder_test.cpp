// Models with an encoder: the decoder reads all of it and nothing behind it, in every form.
#include <doctest/doctest.h>

#include <cmath>

#include "base/random.h"
#include "optim/adamw.h"
#include "support/gradients.h"
#include "support/messages.h"
#include "support/models.h"
#include "support/named.h"
#include "train/trainer.h"
#include "verify/verify.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 11;

constexpr std::string_view kPairs[] = {
    "{d_model: 8, init: {std: 0.4}, block: {ffn: {type: swiglu}, cross: {type: attention, heads: 2}}, encoder: "
    "{layers: "
    "[{mixer: {type: attention, heads: 2, value_residual: 0.5}}, {mixer: {type: bidirectional, of: {type: gla, heads: "
    "2, conv: 3}}}, {mixer: {type: attention, heads: 2, value_residual: 0.5}}]}, layers: [{mixer: {type: attention, "
    "heads: 2, value_residual: 0.3}}, {mixer: {type: gla, heads: 2, gate_rank: 3, conv: 3}, cross: none}, {mixer: "
    "{type: lstm}}, {mixer: {type: attention, window: 4, heads: 2, value_residual: 0.3}}]}",
    "{d_model: 8, positions: learned, max_tokens: 24, tie_embeddings: false, init: {std: 0.4}, block: {norm: {type: "
    "layer_norm, bias: true}, norm_at: both, ffn: {type: mlp, bias: true}}, encoder: {block: {ffn: {type: mlp}, "
    "parallel: true}, layers: [{id: a, mixer: {type: attention, heads: 2, position: none}}, {use: a}]}, layers: [{id: "
    "b, mixer: {type: attention, heads: 2, position: none}, cross: {type: attention, heads: 4, kv_heads: 2, head_dim: "
    "3, qk_norm: true, bias: true}}, {use: b}, {type: x0_residual, mixer: lstm, cross: {type: attention, heads: 1}}]}",
    "{d_model: 8, init: {std: 0.4}, block: {ffn: {type: swiglu}, cross: {type: attention, heads: 2}}, encoder: "
    "{layers: "
    "[{type: layer_drop, rate: 0.5, mixer: {type: attention, heads: 2}}]}, layers: [{type: mod, capacity: 0.4, mixer: "
    "{type: attention, heads: 2}}, {type: layer_drop, rate: 0.5, mixer: lstm}, {type: mor, recursions: 2, mixer: "
    "{type: "
    "attention, heads: 2}}]}",
};
constexpr std::string_view kPlain = kPairs[1];

std::unique_ptr<Objective> objective(const std::string& own) {
  return all_objectives.read(parse_config("{" + own + "}", "o.yaml")).build();
}

std::unique_ptr<LanguageModel> model_of(std::string_view yaml, int64_t vocab = kVocab) {
  return build_model_for(*objective("type: seq2seq"), yaml, vocab, 24);
}

BatchRows rows_of(const Tensor& ids, const Tensor& targets) {
  return {.inputs = ids, .targets = targets, .segments = {}};
}

Context training() {
  Context cx;
  cx.phase = Phase::train;
  cx.seed = 3, cx.step = 7, cx.samples = 5;
  return cx;
}

Tensor logits(const LanguageModel& m, const Tensor& ids, const Memory& memory) {
  Context cx;
  cx.memory = memory;
  return m.logits(ids, cx);
}

}  // namespace

TEST_CASE("encoder: all forms of decoders agree given what it made, all of its text is read and nothing behind it") {
  const Poison poison;
  const Threads one(1);
  for (const std::string_view yaml : kPairs) {
    INFO(yaml);
    const auto model = model_of(yaml);
    const Tensor ids = random_ids(2, 17, kVocab, 1);
    int checks = 0;
    for (const Finding& f : verify(*model, ids, {.seed = 1, .scratch = {}, .read = random_ids(2, 6, kVocab, 2)})) {
      CHECK_MESSAGE(f.passed, f.check, " ", f.where, " ", f.worst);
      ++checks;
    }
    CHECK(checks == 15);
  }
  // A text that takes all places that there are learned positions for.
  for (const Finding& f : verify(*model_of(kPlain), random_ids(1, 9, kVocab, 1),
                                 {.seed = 1, .scratch = {}, .read = random_ids(1, 24, kVocab, 2)}))
    CHECK_MESSAGE(f.passed, f.check, " ", f.where, " ", f.worst);
}

TEST_CASE("encoder: texts of unlike lengths in a batch give what each gives alone") {
  for (const std::string_view yaml : {kPairs[0], kPairs[1]}) {
    const auto model = model_of(yaml);
    const Tensor ids = random_ids(3, 7, kVocab, 1), read = random_ids(3, 6, kVocab, 2),
                 lengths = integers({3}, {4, 1, 6});
    const Tensor together = logits(*model, ids, model->encode(read, {}, lengths));
    for (int64_t b = 0; b < 3; ++b) {
      const int64_t n = lengths.data<int64_t>()[b];
      const Tensor own = Tensor::dense({1, n}, DType::i32);
      for (int64_t t = 0; t < n; ++t) own.data<int32_t>()[t] = read.data<int32_t>()[b * 6 + t];
      const Tensor alone = logits(*model, ids.row_range(b, {1, 7}).clone(), model->encode(own, {}));
      CHECK(max_diff(alone, together.row_range(b * 7, {1, 7, kVocab})) < 1e-12);
    }
  }
}

TEST_CASE("encoder: the gradient of every objective that has one agrees with differences, dropout included") {
  const Poison poison;
  const Threads one(1);
  for (const char* own : {"type: seq2seq, prefix: 0.4", "type: seq2seq, split: random",
                          "type: span_corruption, rate: 0.4, mean_span: 2, sentinels: 6"})
    for (const std::string& yaml : {std::string(kPairs[0]), "{dropout: 0.2, " + std::string(kPairs[1]).substr(1)}) {
      INFO(own, " ", yaml);
      const auto o = objective(own);
      const auto model = build_model_for(*o, yaml, kVocab, 24);
      const Tensor ids = random_ids(2, 9, kVocab, 4), targets = random_ids(2, 9, kVocab, 5);
      const auto loss = [&] { return o->loss(*model, rows_of(ids, targets), 1.0 / 17, training(), nullptr); };
      check_directions(*model, loss, 2e-5, [](std::string_view name) {
        return name.find("cross") != name.npos || name.starts_with("encoder") || name.starts_with("embedding");
      });
    }
}

TEST_CASE("encoder: blocks that run again in backward give the same gradient to the bit, the encoder's too") {
  const Threads one(1);
  std::vector<std::string> all(std::begin(kPairs), std::end(kPairs));
  // What a block reads several times has its gradient whole before that of others: memory, and values of a layer.
  all.push_back(
      "{d_model: 8, init: {std: 0.4}, block: {ffn: {type: swiglu}, cross: {type: attention, heads: 2}}, encoder: "
      "{layers: [{mixer: {type: attention, heads: 2, value_residual: 0.5}}, {mixer: {type: parallel, branches: [{type: "
      "attention, heads: 2, value_residual: 0.5}, {type: attention, heads: 2, value_residual: 0.3}]}}, {mixer: {type: "
      "attention, heads: 2, value_residual: 0.5}}]}, layers: [{mixer: {type: attention, heads: 2, value_residual: "
      "0.5}}, {type: mor, recursions: 3, mixer: {type: attention, heads: 2, value_residual: 0.5}}, {type: mor, "
      "recursions: 2, routing: token, mixer: {type: attention, heads: 2, value_residual: 0.5}}, {mixer: {type: "
      "attention, heads: 2, value_residual: 0.5}}]}");
  for (const std::string& yaml : all) {
    INFO(yaml);
    const auto o = objective("type: seq2seq, split: random");
    const auto model = build_model_for(*o, "{dropout: 0.2, " + yaml.substr(1), kVocab, 24);
    const Tensor ids = random_ids(3, 9, kVocab, 4);
    std::vector<std::unique_ptr<Slab>> gradients;
    std::vector<double> losses;
    for (const bool again : {false, true}) {
      Context cx = training();
      cx.recompute = again;
      gradients.push_back(std::make_unique<Slab>(model->params().slab_elements(), DType::f64));
      losses.push_back(loss_gradient(
          *model, [&] { return o->loss(*model, rows_of(ids, ids), 0.1, cx, nullptr); }, *gradients.back()));
    }
    CHECK(losses[0] == losses[1]);
    for (const Parameter* p : model->params().sorted()) {
      INFO(p->name);
      CHECK(same_bits(model->params().view(*gradients[0], *p), model->params().view(*gradients[1], *p)));
    }
  }
}

TEST_CASE("encoder: a sequence that skips a block, or has other tokens chosen, reads its own memory") {
  const Threads one(1);
  const auto model = model_of(kPairs[2]);
  const Tensor ids = random_ids(4, 8, kVocab, 1), read = random_ids(4, 5, kVocab, 2);
  const auto run = [&](const Tensor& own, const Tensor& text, int64_t sample) {
    Context cx = training();
    cx.samples = sample;
    cx.memory = model->encode(text, cx);
    return model->logits(own, cx);
  };
  const Tensor together = run(ids, read, 40);
  for (int64_t b = 0; b < 4; ++b) {
    const Tensor alone = run(ids.row_range(b, {1, 8}).clone(), read.row_range(b, {1, 5}).clone(), 40 + b);
    CHECK(max_diff(alone, together.row_range(b * 8, {1, 8, kVocab})) < 1e-12);
  }
}

TEST_CASE("encoder: a state remembers what is read of it, until it is given another memory") {
  const auto model = model_of(kPlain);
  const Tensor ids = random_ids(1, 6, kVocab, 1);
  const Memory first = model->encode(random_ids(1, 5, kVocab, 2), {}),
               second = model->encode(random_ids(1, 3, kVocab, 3), {});
  const auto steps = [&](State& state, const Memory& memory) {
    Context cx;
    cx.memory = memory;
    Tensor last;
    for (int64_t t = 0; t < 6; ++t) {
      last = model->logits(tokens(ids.reshape({1, 6, 1}), t, t + 1).reshape({1, 1}), cx, &state);
      cx.memory = {};
    }
    return last.clone();
  };
  State a = model->make_state(1, 12), b = model->make_state(1, 12);
  const Tensor of_first = steps(a, first), of_second = steps(b, second);
  CHECK(max_diff(of_first, of_second) > 1e-3);
  CHECK(max_diff(of_first, tokens(logits(*model, ids, first), 5, 6)) < 1e-12);
  State again = a;  // with six tokens behind it
  Context cx;
  cx.memory = second;
  const Tensor changed = model->logits(ids, cx, &again);
  State whole = model->make_state(1, 12);
  model->logits(ids, cx, &whole);
  // The own tokens before were read beside another memory: what cross attention gives is the second's.
  CHECK(max_diff(changed, model->logits(ids, {}, &a)) > 1e-3);
  CHECK_THROWS_WITH_AS(model->logits(ids, {}), doctest::Contains("reads an encoder's memory"), Error);
  State empty = model->make_state(1, 12);
  CHECK_THROWS_WITH_AS(model->logits(ids, {}, &empty), doctest::Contains("0 of 1 keys"), Error);
}

TEST_CASE("encoder: what belongs together is told with both places, where it does not") {
  const auto errors = [](const std::string& yaml, const std::string& own = "type: seq2seq") {
    return message_of<ConfigError>([&] {
      ModelConfig c = read_model_config(parse_config(yaml, "m.yaml"), 16);
      tell(*objective(own), c);
      Diagnostics found;
      require_direction(c, own.substr(6), found);
      found.throw_if_any();
    });
  };
  const std::string layer = "layers: [{mixer: min_gru}]", crossed = "layers: [{mixer: min_gru, cross: attention}]",
                    encoder = "encoder: {layers: [{mixer: attention}]}";
  CHECK(errors("{d_model: 8, " + crossed + ", " + encoder + "}").empty());
  CHECK(errors("{d_model: 8, " + crossed + "}").find("error: this layer has `cross`, but the model has no `encoder`") !=
        std::string::npos);
  CHECK(errors("{d_model: 8, " + layer + ", " + encoder + "}")
            .find("error: no layer reads the encoder: give one of model.layers (line 1) a `cross`") !=
        std::string::npos);
  CHECK(errors("{d_model: 8, " + layer + "}").find("the objective seq2seq needs an encoder") != std::string::npos);
  CHECK(
      errors("{d_model: 8, " + crossed + ", " + encoder + "}", "type: next_token").find("has no text for an encoder") !=
      std::string::npos);
  CHECK(errors("{d_model: 8, " + crossed + ", encoder: {layers: [{mixer: attention, cross: attention}]}}")
            .find("has nothing to read with `cross`") != std::string::npos);
  CHECK(errors("{d_model: 8, " + crossed + ", encoder: {layers: [{mixer: gla}]}}")
            .find("an encoder needs mixers that see both sides of a token; `gla`") != std::string::npos);
  CHECK(errors("{d_model: 8, " + crossed + ", encoder: {}}").find("the encoder has no `layers`") != std::string::npos);
  // The defaults of the model's blocks hold for the encoder's, but for what reads it.
  const ModelConfig c =
      read_model_config(parse_config("{d_model: 8, block: {ffn: mlp, norm: {type: layer_norm}, cross: attention}, " +
                                         layer + ", " + encoder + "}",
                                     "m.yaml"),
                        16);
  const std::string text = to_yaml(write_model_config(c));
  CHECK(text == to_yaml(write_model_config(read_model_config(parse_config(text, "again"), 16))));
  CHECK(parts(c.layers[0].block).size() == 3);
  CHECK(parts(c.encoder->layers[0].block).size() == 2);
  CHECK(c.encoder->final_norm.type == "layer_norm");
}

TEST_CASE("encoder: a decoder learns to write backwards what its encoder reads") {
  const auto o = objective("type: seq2seq");
  const auto model = build_model_for(
      *o,
      "{d_model: 32, positions: learned, max_tokens: 10, block: {ffn: {type: mlp}, cross: {type: attention, heads: "
      "2}}, "
      "encoder: {layers: [{mixer: {type: attention, heads: 2, position: none}}]}, layers: [{mixer: {type: attention, "
      "heads: 2, position: none}}]}",
      8, 10, DType::f32);
  constexpr int64_t kRows = 32, kHalf = 5, kTokens = 2 * kHalf;
  OptimOptions options;
  options.lr = 1e-2;
  AdamW optimizer(options, {}, model->params());
  Trainer trainer(*model, *o, optimizer, plan_shards(kRows, kTokens, 2, 0, model->params().count()), {.seed = 3});
  double loss = 0;
  for (int64_t step = 0; step < 400; ++step) {
    Batch batch = batch_for(kRows, kTokens, step * kRows);
    const RandomStream numbers(4, "text", static_cast<uint64_t>(step));
    for (int64_t b = 0; b < kRows; ++b) {
      std::vector<int32_t> text;
      for (int64_t t = 0; t < kHalf; ++t)
        text.push_back(static_cast<int32_t>(numbers.below(static_cast<uint64_t>(b * kHalf + t), 8)));
      for (int64_t t = kHalf; t-- > 0;) text.push_back(text[static_cast<size_t>(t)]);
      text.push_back(0);
      o->cut({.text = text, .begin = 0, .end = kTokens, .scored = 0, .document_starts = nullptr, .training = true},
             batch);
    }
    loss = trainer.step(batch, step, step < 300 ? 1 : 0.1).loss;
  }
  CHECK(loss < 0.02);  // log 8 is 2.08
}

TEST_CASE("encoder: its learned positions are its own, and count its text") {
  const auto model = model_of(kPlain);
  const Tensor read = random_ids(2, 5, kVocab, 2), before = model->encode(read, {}).rows.clone();
  const auto moved = [&](const char* name) {
    const Parameter* p = model->params().find(name);
    REQUIRE(p);
    const double was = at(p->value, 1, 0);
    put(p->value, 1, 0, was + 1);
    const double far = max_diff(model->encode(read, {}).rows, before);
    put(p->value, 1, 0, was);
    return far;
  };
  CHECK(moved("encoder.positions.weight") > 1e-3);
  CHECK(moved("positions.weight") == 0);
}
