#include "verify/verify.h"

#include <doctest/doctest.h>

#include <limits>

#include "checkpoint/state_file.h"
#include "config/expect.h"
#include "store/temp_folder.h"
#include "support/close.h"
#include "support/models.h"
#include "support/tensors.h"
#include "verify/compare.h"
#include "verify/read_of.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 11;
constexpr std::string_view kHybrid =
    "{d_model: 8, init: {std: 0.4}, block: {ffn: {type: swiglu}}, layers: [{mixer: {type: attention, heads: 2, "
    "window: 5}}, {mixer: {type: gla, heads: 2, gate_rank: 3, conv: 3}}, {mixer: {type: min_gru, conv: 3}}]}";

Outcome outcome(const Tensor& logits, const Tensor& chosen = {}, const Tensor& margin = {}) {
  Outcome o;
  o.logits = logits;
  if (chosen.defined()) o.choices["layers.0.mixer.selected"] = chosen;
  if (margin.defined()) o.choices["layers.0.mixer.margin"] = margin;
  return o;
}

Finding judged(double bound, const Outcome& form, const Outcome& whole) {
  Finding f{.bound = bound};
  compare(f, form, 0, whole, "steps");
  judge(f, true);
  return f;
}

}  // namespace

TEST_CASE("verify: every check holds on a hybrid, in both types") {
  const Threads two(2);
  const Tensor ids = random_ids(2, 21, kVocab, 3);
  for (DType type : {DType::f64, DType::f32}) {
    const auto model = build_model(kHybrid, kVocab, 32, type);
    const auto found = verify(*model, ids, {});
    CHECK(found.size() == 13);
    for (const Finding& f : found) {
      CAPTURE(f.check);
      CAPTURE(f.worst);
      CAPTURE(f.where);
      CHECK(f.passed);
      CHECK(f.compared >= 21);
    }
  }
}

TEST_CASE("verify: where tokens see each other, forms without cuts agree, and a model that looks back alone is told") {
  const Threads two(2);
  const auto objective = Choice(all_objectives, "masked_diffusion").build();
  const Tensor ids = random_ids(2, 13, kVocab + 1, 3);  // MASK among them
  const auto found = [&](std::string_view mixer) {
    return verify(
        *build_model_for(*objective, "{d_model: 8, init: {std: 0.4}, layers: [{mixer: " + std::string(mixer) + "}]}",
                         kVocab, 32),
        ids, {});
  };
  for (const char* mixer : {"{type: attention, heads: 2}", "{type: bidirectional, of: {type: min_gru, conv: 3}}"}) {
    const auto all = found(mixer);
    CHECK(all.size() == 7);
    for (const Finding& f : all) CHECK_MESSAGE(f.passed, f.check);
  }
  for (const Finding& f : found("min_gru")) CHECK(f.passed == (f.check != "both sides are seen"));
}

TEST_CASE("verify: a model of blocks is cut between them, and looks ahead within") {
  const Threads two(2);
  const auto objective = all_objectives.read(parse_config("{type: block_diffusion, block: 4}", "o.yaml")).build();
  const auto model = build_model_for(
      *objective, "{d_model: 8, init: {std: 0.4}, layers: [{mixer: {type: attention, heads: 2, window: 6}}]}", kVocab,
      32);
  const auto all = verify(*model, random_ids(2, 21, kVocab + 1, 3), {});
  CHECK(all.size() == 14);
  for (const Finding& f : all) {
    CAPTURE(f.where);
    CHECK_MESSAGE(f.passed, f.check);
  }
}

TEST_CASE("verify: blocks of one token are cut anywhere, but in no document's middle") {
  const Threads two(2);
  const auto objective = all_objectives.read(parse_config("{type: block_diffusion, block: 1}", "o.yaml")).build();
  const auto model = build_model_for(
      *objective, "{d_model: 8, init: {std: 0.4}, layers: [{mixer: {type: attention, heads: 2}}]}", kVocab, 32);
  for (const Finding& f : verify(*model, random_ids(2, 13, kVocab + 1, 3), {})) CHECK_MESSAGE(f.passed, f.check);
}

TEST_CASE("verify: a model of prefixes reads one at once, and goes on from it in any parts") {
  const Threads two(2);
  const auto objective = Choice(all_objectives, "prefix_lm").build();
  const auto found = [&](std::string_view mixer) {
    return verify(
        *build_model_for(*objective, "{d_model: 8, init: {std: 0.4}, layers: [{mixer: " + std::string(mixer) + "}]}",
                         kVocab, 32),
        random_ids(2, 13, kVocab, 3), {});
  };
  const auto all = found("{type: attention, heads: 2}");
  CHECK(all.size() == 14);
  for (const Finding& f : all) CHECK_MESSAGE(f.passed, f.check);
  for (const Finding& f : found("min_gru")) CHECK(f.passed == (f.check != "prefix read at once"));
}

TEST_CASE("verify: mechanisms that choose show what they chose, the same in every form") {
  const auto model = build_model(
      "{d_model: 8, init: {std: 0.4}, layers: [{mixer: {type: moba, heads: 2, block: 3, top_k: 2}}, {mixer: {type: "
      "nsa, "
      "heads: 2, compress_block: 4, compress_stride: 2, select_block: 2, select: 4, window: 5}}]}",
      kVocab, 32);
  const Tensor ids = random_ids(2, 25, kVocab, 3);
  const Outcome whole = run(*model, ids), steps = run(*model, ids, {.cuts = every_token(25)});
  for (const char* place : {"layers.0.mixer", "layers.1.mixer"}) {
    CAPTURE(place);
    const Tensor chosen = whole.choices.at(std::string(place) + ".selected"),
                 margin = whole.choices.at(std::string(place) + ".margin");
    CHECK(chosen.dim(1) == 25);
    CHECK(same_bits(chosen, steps.choices.at(std::string(place) + ".selected")));
    double least = std::numeric_limits<double>::infinity();
    for (int64_t r = 0; r < margin.rows(); ++r)
      for (int64_t c = 0; c < margin.cols(); ++c) least = std::min(least, at(margin, r, c));
    CHECK(least > 1e-9);
    CHECK(least < 10);
  }
  for (const Finding& f : verify(*model, ids, {})) CHECK(f.passed);
}

TEST_CASE("verify: the training form is compared without what it leaves out at random") {
  const auto model = build_model(
      "{d_model: 8, dropout: 0.5, block: {type: layer_drop, rate: 0.9}, layers: [{mixer: {type: min_gru}}, {mixer: "
      "{type: attention, heads: 2, dropout: 0.5}}]}",
      kVocab, 32);
  for (const Finding& f : verify(*model, random_ids(2, 9, kVocab, 3), {})) CHECK(f.passed);
}

TEST_CASE("verify: a training form that is another function is shown, and not judged") {
  for (const bool limited : {true, false}) {
    const std::string capacity = limited ? ", capacity: 0.5" : "";
    const auto model = build_model(
        "{d_model: 8, init: {std: 0.4}, layers: [{mixer: min_gru, ffn: {type: moe, experts: 3" + capacity + "}}]}",
        kVocab, 32);
    for (const Finding& f : verify(*model, random_ids(2, 12, kVocab, 3), {})) {
      CHECK(f.passed);
      if (f.check != "training form") continue;
      CHECK((f.worst > 1e-3) == limited);
      CHECK((f.bound == kWaived) == limited);
      CHECK(f.notes.empty() != limited);
    }
  }
}

TEST_CASE("verify: a difference is found, measured and placed") {
  const Tensor right = random({2, 5, 3}, 1), form = right.clone();
  put(form, 7, 1, at(form, 7, 1) + 2e-6);
  const Finding f = judged(1e-10, outcome(form), outcome(right));
  CHECK_FALSE(f.passed);
  CHECK(close(f.worst, 2e-6 / scale_of(right), 1e-3));
  CHECK(f.where == "steps, sequence 1, token 2");
  CHECK(f.compared == 10);
  CHECK(judged(1e-4, outcome(form), outcome(right)).passed);
  put(form, 0, 0, std::numeric_limits<double>::quiet_NaN());
  CHECK_FALSE(judged(1e-4, outcome(form), outcome(right)).passed);
}

TEST_CASE("verify: tokens after another choice are counted and left out") {
  const int64_t tokens = 20'001;
  const Tensor right = Tensor::zeros({1, tokens, 1}, DType::f32), form = right.clone(),
               chosen = Tensor::zeros({1, tokens, 2}, DType::i64), other = chosen.clone(),
               margin = Tensor::full({1, tokens, 1}, DType::f32, 0.5);
  put(other, 19'000, 1, 3);
  put(margin, 19'000, 0, 1e-7);
  for (int64_t t = 19'000; t < tokens; ++t) put(form, t, 0, 1);
  Finding f = judged(1e-4, outcome(form, other, margin), outcome(right, chosen, margin));
  CHECK(f.passed);
  CHECK(f.flips == 1);
  CHECK(close(f.margin, 1e-7));
  judge(f, false);  // f64 has no excuse
  CHECK_FALSE(f.passed);
  put(other, 19'001, 1, 3);
  put(other, 19'002, 1, 3);
  // 3 of 20,001 are more than 1e-4.
  CHECK_FALSE(judged(1e-4, outcome(form, other, margin), outcome(right, chosen, margin)).passed);
}

TEST_CASE("state file: what a model remembers comes back to the bit") {
  const TempFolder folder("state");
  const auto model = build_model(kHybrid, kVocab, 32);
  State state = model->make_state(2, 16);
  model->logits(random_ids(2, 9, kVocab, 1), {}, &state);
  save_state(folder.path / "s.safetensors", state);
  const State again = model->make_state(2, 16);
  load_state(folder.path / "s.safetensors", again);
  const auto a = named_tensors(state), b = named_tensors(again);
  REQUIRE(a.size() == b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    CHECK(a[i].name == b[i].name);
    CHECK(same_bits(a[i].value, b[i].value));
  }
  // As files of earlier versions have it, where the mixer of a block counts.
  std::vector<NamedTensor> earlier = a;
  for (NamedTensor& t : earlier)
    if (t.name.ends_with(".seen") && t.name != "state.seen") t.name.insert(t.name.size() - 5, ".mixer");
  save_checkpoint(folder.path / "e.safetensors", ParamStore(), earlier, {});
  const State old = model->make_state(2, 16);
  load_state(folder.path / "e.safetensors", old);
  for (size_t i = 0; i < a.size(); ++i) CHECK(same_bits(named_tensors(old)[i].value, a[i].value));
  CHECK_THROWS_WITH_AS(load_state(folder.path / "s.safetensors", model->make_state(3, 16)),
                       doctest::Contains("state.seen"), CheckpointError);
  const auto taller =
      build_model("{d_model: 8, layers: [{mixer: {type: min_gru}}, {mixer: {type: gla, heads: 2}}]}", kVocab, 32);
  CHECK_THROWS_AS(load_state(folder.path / "s.safetensors", taller->make_state(2, 16)), CheckpointError);
}

TEST_CASE("verify: a layer that chooses tokens need not read the encoder at the first one") {
  const Threads two(2);
  const auto objective = all_objectives.read(parse_config("{type: seq2seq}", "o.yaml")).build();
  const auto model = build_model_for(
      *objective,
      "{d_model: 8, init: {std: 0.4}, encoder: {layers: [{mixer: {type: attention, heads: 2}}]}, layers: [{type: mod, "
      "capacity: 0.3, mixer: {type: attention, heads: 2}, cross: {type: attention, heads: 2}}]}",
      kVocab, 32);
  // Nothing is chosen by a predictor that always says no: then nothing reads, which is told and no failure.
  const Tensor ids = random_ids(2, 20, kVocab, 3);
  VerifyOptions options;
  options.read = read_of(*objective, *model, ids);
  for (const double bias : {0.0, -100.0}) {
    for (const Parameter* p : model->params().sorted())
      if (p->name.ends_with("predictor.down.bias")) fill(p->value, bias);
    bool told = false;
    for (const Finding& f : verify(*model, ids, options)) {
      CHECK_MESSAGE(f.passed, f.check);
      if (f.check == "the encoder is read") told = !f.notes.empty();
    }
    CHECK(told == (bias < 0));
  }
}

TEST_CASE("verify: an encoder is given what the objective gives it of the same text") {
  const auto objective = [](const std::string& own) {
    return all_objectives.read(parse_config("{" + own + "}", "o.yaml")).build();
  };
  const std::string pair =
      "{d_model: 8, max_tokens: 16, block: {cross: {type: attention, heads: 2}}, encoder: {positions: learned, layers: "
      "[{mixer: {type: attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}]}";
  const Tensor ids = random_ids(2, 20, kVocab, 3);
  const auto half = objective("type: seq2seq, prefix: 0.3");
  const auto model = build_model_for(*half, pair, kVocab, 16);
  const Tensor read = read_of(*half, *model, ids);
  REQUIRE(read.shape() == Shape({2, 6}));
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < 6; ++t) CHECK(read.view<int32_t>().row(b)[t] == ids.view<int32_t>().row(b)[t]);
  // Spans are missing, sentinels stand for them; of the first tokens, since learned positions end.
  const auto spans = objective("type: span_corruption, rate: 0.2, mean_span: 2, sentinels: 9");
  const auto fills = build_model_for(*spans, pair, kVocab, 16);
  const Tensor rest = read_of(*spans, *fills, ids);
  CHECK(rest.dim(1) == 16);
  CHECK(fills->config().longest_row() == 18);
  for (int64_t b = 0; b < 2; ++b) {
    int64_t sentinels = 0, t = 0;
    for (int64_t i = 0; i < rest.dim(1); ++i) {
      const int32_t id = rest.view<int32_t>().row(b)[i];
      if (id >= kVocab) {
        CHECK(id == kVocab + sentinels++);
        continue;
      }
      while (t < 18 && ids.view<int32_t>().row(b)[t] != id) ++t;  // the rest is in the order of the text
      CHECK(t++ < 18);
    }
    CHECK(sentinels == 2);
  }
}
