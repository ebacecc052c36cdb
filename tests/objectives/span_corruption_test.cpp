// Span corruption against the text that it takes apart, and what its numbers are functions of.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/random.h"
#include "eval/evaluator.h"
#include "objectives/corrupted_spans.h"
#include "support/golden.h"
#include "support/messages.h"
#include "support/models.h"
#include "support/named.h"
#include "support/run_calls.h"

using namespace effllm;
using namespace effllm::test;

namespace {

using Ids = std::vector<int32_t>;
constexpr int64_t kVocab = 7;
constexpr std::string_view kModel =
    "{d_model: 8, init: {std: 0.6}, tie_embeddings: false, block: {ffn: mlp, cross: {type: attention, heads: 2}}, "
    "encoder: {layers: [{mixer: {type: attention, heads: 2}}]}, layers: [{mixer: {type: attention, heads: 2}}]}";

CorruptedSpans shape(double rate = 0.15, double mean_span = 3, int64_t sentinels = 100) {
  return {rate, mean_span, sentinels, {}};
}

Ids row(const Tensor& ids, int64_t b) {
  return {ids.data<int32_t>() + b * ids.dim(1), ids.data<int32_t>() + (b + 1) * ids.dim(1)};
}

// The text of which an encoder's and a decoder's part are: each sentinel stands for what follows it in the other.
Ids joined(const Ids& read, const Ids& targets) {
  std::map<int32_t, Ids> spans;
  int32_t sentinel = -1;
  for (const int32_t id : targets)
    if (id >= kVocab)
      spans[sentinel = id];
    else
      spans[sentinel].push_back(id);
  Ids text;
  for (const int32_t id : read)
    if (id < kVocab)
      text.push_back(id);
    else
      text.insert(text.end(), spans.at(id).begin(), spans.at(id).end());
  return text;
}

std::unique_ptr<Objective> objective(const std::string& own = "") {
  return all_objectives.read(parse_config("{type: span_corruption" + own + "}", "o.yaml")).build();
}

// Of each row -log p of all targets.
std::vector<double> nats(const LanguageModel& model, const TwoParts& parts) {
  Context with;
  with.memory = model.encode(parts.read, {});
  const Tensor logits = model.logits(parts.inputs, with);
  CHECK(logits.cols() == model.outputs());
  std::vector<double> sums(static_cast<size_t>(parts.inputs.dim(0)));
  for (int64_t i = 0; i < logits.rows(); ++i) {
    double z = 0;
    for (int64_t q = 0; q < logits.cols(); ++q) z += std::exp(at(logits, i, q));
    sums[static_cast<size_t>(i / parts.inputs.dim(1))] += std::log(z) - at(logits, i, parts.targets.data<int32_t>()[i]);
  }
  return sums;
}

Tensor stored(const SafetensorsFile& file, const char* name) {
  const StoredTensor* t = file.find(name);
  REQUIRE(t);
  const Tensor all = Tensor::dense({t->shape[0], t->shape[1]}, DType::i32);
  std::memcpy(all.raw(), t->data, t->bytes);
  return all;
}

TokenizedText text_of(int64_t tokens) {
  TokenizedText t;
  t.document_starts = {0};
  for (int64_t i = 0; i < tokens; ++i) t.tokens.push_back(static_cast<int32_t>((i * i + i / 3) % kVocab));
  t.bytes = tokens;
  return t;
}

}  // namespace

TEST_CASE("span_corruption: numbers of tokens and spans are those of the published code") {
  const auto counts = [](double rate, double mean, int64_t tokens) {
    const auto [missing, spans] = shape(rate, mean).counts(tokens);
    return std::pair{missing, spans};
  };
  CHECK(counts(0.15, 3, 512) == std::pair<int64_t, int64_t>{77, 26});
  CHECK(counts(0.15, 3, 10) == std::pair<int64_t, int64_t>{2, 1});
  CHECK(counts(0.15, 3, 30) == std::pair<int64_t, int64_t>{4, 1});  // 4.5 goes to the even number
  CHECK(counts(0.5, 4, 24) == std::pair<int64_t, int64_t>{12, 3});
  CHECK(counts(0, 3, 10) == std::pair<int64_t, int64_t>{1, 1});
  CHECK(counts(1, 3, 10) == std::pair<int64_t, int64_t>{9, 1});  // one is kept, and before it no second span
  CHECK(counts(0.15, 3, 1) == std::pair<int64_t, int64_t>{1, 1});
}

TEST_CASE("span_corruption: both parts together are the text, sentinels in its order, the decoder's input one behind") {
  for (const int64_t tokens : {1, 2, 13, 40}) {
    const CorruptedSpans s = shape(0.3, 2);
    const Tensor ids = random_ids(3, tokens, kVocab, 1);
    const auto [missing, spans] = s.counts(tokens);
    const TwoParts parts = s.taken_out(ids, kVocab, [&](int64_t b) {
      return s.drawn(tokens, {1, "a", static_cast<uint64_t>(b)}, {1, "b", static_cast<uint64_t>(b)});
    });
    REQUIRE(parts.read.dim(1) == tokens - missing + spans);
    REQUIRE(parts.targets.dim(1) == missing + spans + 1);
    for (int64_t b = 0; b < 3; ++b) {
      const Ids read = row(parts.read, b), targets = row(parts.targets, b), inputs = row(parts.inputs, b);
      CHECK(joined(read, targets) == row(ids, b));
      Ids in_read, in_targets;
      for (const int32_t id : read)
        if (id >= kVocab) in_read.push_back(id);
      for (const int32_t id : targets)
        if (id >= kVocab) in_targets.push_back(id);
      Ids order;
      for (int64_t i = 0; i <= spans; ++i) order.push_back(static_cast<int32_t>(kVocab + i));
      CHECK(in_targets == order);
      order.pop_back();
      CHECK(in_read == order);
      CHECK(targets.front() == kVocab);
      CHECK(targets.back() == kVocab + spans);
      CHECK(inputs.front() == kVocab + 99);
      CHECK(Ids(inputs.begin() + 1, inputs.end()) == Ids(targets.begin(), targets.end() - 1));
      if (tokens > 1) CHECK(read.front() < kVocab);
      CHECK(read.back() >= kVocab);
    }
  }
}

TEST_CASE("span_corruption: training and evaluation take out the spans of the transcription") {
  for_each_golden("span_corruption", "objective", [](const SafetensorsFile& file) {
    const auto number = [&](const char* key) { return std::stoll(file.metadata().at(key)); };
    const auto o = all_objectives.read(parse_config(file.metadata().at("options"), "golden")).build();
    const auto model = build_model_for(*o, kModel, number("vocab"));
    const Tensor text = stored(file, "text");
    const int64_t rows = text.dim(0), tokens = text.dim(1), begin = number("begin");
    const TwoParts training{
        .read = stored(file, "encoder"), .inputs = stored(file, "inputs"), .targets = stored(file, "targets")},
        evaluation{.read = stored(file, "eval_encoder"),
                   .inputs = stored(file, "eval_inputs"),
                   .targets = stored(file, "eval_targets")};
    CHECK(o->parts()(tokens).encoder == training.read.dim(1));
    CHECK(o->parts()(tokens).decoder == training.inputs.dim(1));
    double sum = 0;
    for (const double n : nats(*model, training)) sum += n;
    Batch batch = batch_for(rows, tokens);
    Ids all(static_cast<size_t>(begin));
    all.insert(all.end(), text.data<int32_t>(), text.data<int32_t>() + text.numel());
    for (int64_t b = 0; b < rows; ++b)
      o->cut({.text = all,
              .begin = begin + b * tokens,
              .end = begin + (b + 1) * tokens,
              .scored = 0,
              .document_starts = nullptr},
             batch);
    Context cx;
    cx.seed = static_cast<uint64_t>(number("seed")), cx.step = number("step"), cx.samples = number("sample");
    const double missing = static_cast<double>(batch.counted()) / static_cast<double>(rows);
    CHECK(*o->loss(*model, {.inputs = text, .targets = text, .segments = {}}, 1.0 / static_cast<double>(tokens), cx,
                   nullptr)
               .data<double>() == doctest::Approx(sum / missing).epsilon(1e-12));
    const std::vector<double> expected = nats(*model, evaluation);
    const std::vector<RowScore> found = o->score(*model, batch.rows(0, rows), {});
    for (size_t b = 0; b < found.size(); ++b) CHECK(found[b].nats == doctest::Approx(expected[b]).epsilon(1e-12));
  });
}

TEST_CASE("span_corruption: all divisions into spans come up alike") {
  std::map<std::vector<bool>, int> seen;  // of 6 tokens 3 in 2 spans: 2 by 2 divisions
  constexpr int kDraws = 4000;
  for (uint64_t i = 0; i < kDraws; ++i) ++seen[shape(0.5, 1.5).drawn(6, {1, "a", i}, {1, "b", i})];
  CHECK(seen.size() == 4);
  for (const auto& [mask, count] : seen) CHECK(std::abs(count - kDraws / 4) < 5 * std::sqrt(kDraws * 3 / 16.0));
}

TEST_CASE("span_corruption: the loss is that of all that the decoder writes, over the tokens that are missing") {
  const auto o = objective(", rate: 0.3, mean_span: 2");
  const auto model = build_model_for(*o, kModel, kVocab);
  constexpr int64_t kTokens = 12, kMissing = 4;
  const Tensor ids = random_ids(3, kTokens, kVocab, 4);
  Context cx;
  cx.phase = Phase::train;
  cx.seed = 9, cx.step = 41, cx.samples = 1234;
  const BatchRows rows{.inputs = ids, .targets = ids, .segments = {}};
  const CorruptedSpans s = shape(0.3, 2);
  const TwoParts parts = s.taken_out(ids, kVocab, [&](int64_t b) {
    const auto sample = static_cast<uint64_t>(1234 + b);
    return s.drawn(kTokens, {9, "span_corruption.noise", 41, sample}, {9, "span_corruption.kept", 41, sample});
  });
  double sum = 0;
  for (const double n : nats(*model, parts)) sum += n;
  const auto loss = [&](const BatchRows& r, const Context& c) {
    return *o->loss(*model, r, 1.0 / 36, c, nullptr).data<double>();
  };
  CHECK(loss(rows, cx) == doctest::Approx(sum / (3 * kMissing)).epsilon(1e-12));
  // Rows of a shard are those of the batch, another step has other spans.
  double shards = 0;
  for (int64_t b = 0; b < 3; ++b) {
    Context own = cx;
    own.samples = 1234 + b;
    const Tensor one = ids.row_range(b, {1, kTokens}).clone();
    shards += loss({.inputs = one, .targets = one, .segments = {}}, own);
  }
  CHECK(loss(rows, cx) == doctest::Approx(shards).epsilon(1e-12));
  cx.step = 42;
  CHECK(std::abs(loss(rows, cx) - shards) > 1e-6);

  // An evaluation's spans hang on the place in the text alone, and it counts what is missing.
  const TokenizedText text = text_of(60);
  Batch batch = batch_for(2, kTokens);
  for (const int64_t begin : {24, 5})
    o->cut({.text = text.tokens, .begin = begin, .end = begin + kTokens, .scored = begin, .document_starts = nullptr},
           batch);
  CHECK(batch.counted() == 2 * kMissing);
  const BatchRows scored = batch.rows(0, 2);
  const TwoParts own = s.taken_out(scored.inputs, kVocab, [&](int64_t b) {
    const uint64_t begin = b ? 5 : 24;
    return s.drawn(kTokens, {0, "span_corruption.noise", begin, kTokens}, {0, "span_corruption.kept", begin, kTokens});
  });
  const std::vector<double> expected = nats(*model, own);
  const std::vector<RowScore> found = o->score(*model, scored, {.first = 17, .seed = 3});
  for (size_t b = 0; b < 2; ++b) CHECK(found[b].nats == doctest::Approx(expected[b]).epsilon(1e-12));
}

TEST_CASE("span_corruption: an evaluation scores as many tokens as are missing, and says what its numbers are") {
  const auto o = objective(", rate: 0.25, mean_span: 2, sentinels: 9");
  const auto model = build_model_for(*o, kModel, kVocab, 64, DType::f32);
  const TokenizedText text = text_of(100);
  const auto tokenizer = build_tokenizer("char", "abcdefg");
  const EvalResult r = evaluate(*model, *o, text, *tokenizer, {.tokens = 20});
  CHECK(r.tokens == 25);
  CHECK(r.given_rest);
  CHECK_FALSE(r.bound);
  CHECK(r.measured().front().metric->title == kMissingMetrics.loss.title);
  CHECK_THROWS_WITH_AS(
      o->score(*model,
               {.inputs = random_ids(1, 100, kVocab, 1), .targets = random_ids(1, 100, kVocab, 1), .segments = {}}, {}),
      doctest::Contains("o.yaml:1:1: error: a row of 100 tokens has 12 spans, for which objective.sentinels "
                        "must be at least 14; it is 9"),
      ConfigError);
}

TEST_CASE("span_corruption: a model learns what is missing in a text that repeats") {
  const TinyFolder t("span_corruption", R"(model:
  d_model: 32
  block: {ffn: {type: mlp, expand: 2}, cross: {type: attention, heads: 2}}
  encoder: {layers: [{mixer: {type: attention, heads: 2}}]}
  layers: [{mixer: {type: attention, heads: 2}}]
objective: {type: span_corruption}
data: {corpus: data/tiny.yaml, tokenizer: char}
optim: {lr: 1e-2, schedule: {warmup: 10}}
train: {batch: 16, context: 48, max_steps: 150, log_every: 50, save_every: 150}
eval: {max_tokens: 400, sample_tokens: 12, prompt: "the qu___ fox ___ over"}
)");
  const RunFolder run(train(t).folder);
  const std::vector<double> all = losses(run.path());
  CHECK(all.back() < 0.7 * all.front());
  const JournalData j = read_journal(run.path() / "metrics.jsonl");
  CHECK(j.find("train"));
  const std::string sample = slurp(run.samples() / "step_000000150.txt");
  CHECK(sample.starts_with("the qu"));
  CHECK(sample.find(" fox ") != sample.npos);
  CHECK(sample.ends_with(" over\n"));
  CHECK(sample.find('_') == sample.npos);
}
