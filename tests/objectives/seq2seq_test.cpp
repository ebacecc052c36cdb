// From sequence to sequence: which tokens are read and predicted, and that their likelihood is one.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <set>

#include "base/random.h"
#include "eval/evaluator.h"
#include "support/golden.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 3;
constexpr std::string_view kModel =
    "{d_model: 8, init: {std: 0.6}, tie_embeddings: false, block: {ffn: mlp, cross: {type: attention, heads: 2}}, "
    "encoder: {layers: [{mixer: {type: attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}]}";

std::unique_ptr<Objective> objective(const std::string& own = "") {
  return all_objectives.read(parse_config("{type: seq2seq" + own + "}", "o.yaml")).build();
}

Batch cut(const Objective& o, const std::vector<int32_t>& text, int64_t begin, int64_t tokens, bool training) {
  Batch batch = batch_for(1, tokens);
  o.cut({.text = text,
         .begin = begin,
         .end = begin + tokens,
         .scored = begin,
         .document_starts = nullptr,
         .training = training},
        batch);
  return batch;
}

// -log p of the ids from `from` on, each after those before it, of which the first p are read by the encoder.
double nats(const LanguageModel& model, const std::vector<int32_t>& ids, int64_t p) {
  Context cx;
  cx.memory = model.encode(Tensor::view_of(std::span(ids).first(static_cast<size_t>(p)), {1, p}), {});
  const auto rest = std::span(ids).subspan(static_cast<size_t>(p - 1));
  const auto n = static_cast<int64_t>(rest.size()) - 1;
  const Tensor logits = model.logits(Tensor::view_of(rest.first(static_cast<size_t>(n)), {1, n}), cx);
  double sum = 0;
  for (int64_t t = 0; t < n; ++t) {
    double z = 0;
    for (int64_t q = 0; q < logits.cols(); ++q) z += std::exp(at(logits, t, q));
    sum += std::log(z) - at(logits, t, rest[static_cast<size_t>(t + 1)]);
  }
  return sum;
}

std::vector<int32_t> ids_of(int64_t n, int64_t seed) {
  const Tensor ids = random_ids(1, n, kVocab, static_cast<uint64_t>(seed));
  return {ids.data<int32_t>(), ids.data<int32_t>() + n};
}

}  // namespace

TEST_CASE("seq2seq: what is predicted given a prefix are probabilities of all that may follow") {
  const auto o = objective();
  const auto model = build_model_for(*o, kModel, kVocab);
  double sum = 0;
  for (int32_t code = 0; code < 27; ++code) {  // T = 4, p = 2: three tokens are predicted
    const std::vector<int32_t> ids = {1, 2, code / 9, code / 3 % 3, code % 3};
    const Batch batch = cut(*o, ids, 0, 4, false);
    CHECK(batch.counted() == 3);
    sum += std::exp(-o->score(*model, batch.rows(0, 1), {})[0].nats);
  }
  CHECK(sum == doctest::Approx(1).epsilon(1e-10));
}

TEST_CASE("seq2seq: training cuts rows where the transcription does") {
  for_each_golden("seq2seq", "objective", [](const SafetensorsFile& file) {
    const auto number = [&](const char* key) { return std::stoll(file.metadata().at(key)); };
    const auto o = all_objectives.read(parse_config(file.metadata().at("options"), "golden")).build();
    const auto model = build_model_for(*o, kModel, number("vocab"));
    const StoredTensor* text = file.find("text");
    const int64_t rows = text->shape[0], tokens = text->shape[1] - 1;
    const Tensor splits = golden_tensor(file, "splits"), weights = golden_tensor(file, "row_weights");
    Batch batch = batch_for(rows, tokens);
    double expected = 0;
    for (int64_t b = 0; b < rows; ++b) {
      std::vector<int32_t> ids(static_cast<size_t>(tokens + 1));
      std::memcpy(ids.data(), text->data + b * (tokens + 1) * 4, ids.size() * 4);
      o->cut({.text = ids, .begin = 0, .end = tokens, .scored = 0, .document_starts = nullptr, .training = true},
             batch);
      expected += weights.data<double>()[b] * nats(*model, ids, splits.data<int64_t>()[b]);
    }
    Context cx;
    cx.seed = static_cast<uint64_t>(number("seed")), cx.step = number("step"), cx.samples = number("sample");
    CHECK(*o->loss(*model, batch.rows(0, rows), 1, cx, nullptr).data<double>() ==
          doctest::Approx(expected).epsilon(1e-12));
  });
}

TEST_CASE("seq2seq: rows are cut at the share of the prefix, or in training at random, each row's mean alike") {
  for (const double prefix : {0.0, 0.3, 0.5, 1.0}) {
    const auto o = objective(fmt::format(", prefix: {}", prefix));
    const auto model = build_model_for(*o, kModel, kVocab);
    constexpr int64_t kTokens = 9;
    const int64_t p = prefix == 0 ? 1 : prefix == 0.3 ? 3 : prefix == 0.5 ? 4 : 8;  // 4.5 goes to the even number
    const std::vector<int32_t> ids = ids_of(kTokens + 1, 7);
    for (const bool training : {true, false}) {
      const Batch batch = cut(*o, ids, 0, kTokens, training);
      CHECK(batch.counted() == kTokens - p + 1);
      CHECK(o->score(*model, batch.rows(0, 1), {})[0].nats == doctest::Approx(nats(*model, ids, p)).epsilon(1e-12));
      CHECK(*o->loss(*model, batch.rows(0, 1), 0.5, {}, nullptr).data<double>() ==
            doctest::Approx(nats(*model, ids, p) / 2).epsilon(1e-12));
    }
    const RowParts parts = o->parts()(kTokens);
    CHECK(parts.encoder == p);
    CHECK(parts.decoder == kTokens - p + 1);
  }
  const auto o = objective(", split: random");
  const auto model = build_model_for(*o, kModel, kVocab);
  constexpr int64_t kTokens = 6, kRows = 40;
  const Tensor all = random_ids(kRows, kTokens + 1, kVocab, 3);
  Batch batch = batch_for(kRows, kTokens);
  for (int64_t b = 0; b < kRows; ++b)
    o->cut({.text = {all.data<int32_t>() + b * (kTokens + 1), static_cast<size_t>(kTokens + 1)},
            .begin = 0,
            .end = kTokens,
            .scored = 0,
            .document_starts = nullptr,
            .training = true},
           batch);
  CHECK(batch.counted() == kRows * kTokens);
  Context cx;
  cx.phase = Phase::train;
  cx.seed = 5, cx.step = 11, cx.samples = 70;
  double expected = 0;
  std::set<int64_t> splits;
  for (int64_t b = 0; b < kRows; ++b) {
    const int64_t p =
        1 +
        static_cast<int64_t>(RandomStream(5, "seq2seq.split", 11, static_cast<uint64_t>(70 + b)).below(0, kTokens - 1));
    splits.insert(p);
    const std::vector<int32_t> ids(all.data<int32_t>() + b * (kTokens + 1),
                                   all.data<int32_t>() + (b + 1) * (kTokens + 1));
    expected += nats(*model, ids, p) / static_cast<double>(kTokens - p + 1);
  }
  CHECK(splits == std::set<int64_t>{1, 2, 3, 4, 5});  // all that leave both parts a token of their own
  CHECK(*o->loss(*model, batch.rows(0, kRows), 1.0 / (kRows * kTokens), cx, nullptr).data<double>() ==
        doctest::Approx(expected / kRows).epsilon(1e-12));
}

TEST_CASE("seq2seq: sliding windows score the tokens that a decoder alone is scored on, but the first prefix") {
  const auto o = objective();
  const auto model = build_model_for(*o, kModel, kVocab, 64, DType::f32);
  TokenizedText text;
  text.document_starts = {0};
  text.tokens = ids_of(101, 3);
  text.bytes = 101;
  const auto tokenizer = build_tokenizer("char", "abc");
  EvalOptions how{.protocol = all_protocols.read(parse_config("{type: sliding, stride: 6}", "t")), .tokens = 10};
  const EvalResult r = evaluate(*model, *o, text, *tokenizer, how);
  CHECK(r.tokens == 100 - 4);
  CHECK_FALSE(r.given_rest);
  double expected = 0;
  for (int64_t begin = 0; begin < 96; begin += 6) {
    const int64_t end = std::min<int64_t>(begin + 11, 101);
    std::vector<int32_t> window(text.tokens.begin() + begin, text.tokens.begin() + end);
    if (static_cast<int64_t>(window.size()) == 11) expected += nats(*model, window, 5);
  }
  CHECK(r.nats == doctest::Approx(expected).epsilon(1e-4));
}

TEST_CASE("seq2seq: a score with training's choice of tokens is another than that of the causal one") {
  const auto o = objective();
  const auto model = build_model_for(*o,
                                     "{d_model: 8, init: {std: 0.9}, block: {ffn: mlp, cross: {type: attention, heads: "
                                     "2}}, encoder: {layers: [{mixer: "
                                     "{type: attention, heads: 2}}]}, layers: [{type: mod, capacity: 0.5, causal: aux, "
                                     "mixer: {type: attention, heads: "
                                     "2}}, {mixer: {type: attention, heads: 2}}]}",
                                     kVocab);
  const Batch batch = cut(*o, ids_of(25, 4), 0, 24, false);
  const auto nats_of = [&](const Scoring& how) { return o->score(*model, batch.rows(0, 1), how)[0].nats; };
  CHECK(nats_of({}) == nats_of({}));
  CHECK(std::abs(nats_of({.training_choice = true}) - nats_of({})) > 1e-6);
}
