// Masked diffusion against a transcription of its masks, and its bound against likelihoods that can be enumerated.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "eval/evaluator.h"
#include "objectives/objective_checks.h"
#include "store/journal.h"
#include "support/run_calls.h"

using namespace effllm;
using namespace effllm::test;

namespace {

std::unique_ptr<Objective> objective(const std::string& own = "") {
  return read_objective("{type: masked_diffusion" + own + "}");
}

// Of each token -log p(id) under the model that sees `seen`, both [B, T].
std::vector<double> nats(const LanguageModel& model, const Tensor& seen, const Tensor& ids) {
  return nats_by(model.logits(seen, {}), ids);
}

RowScore score(const LanguageModel& model, const Ids& text, Scoring how) {
  const Tensor ids = ids_of(text, 1);
  return objective()->score(model, {ids, ids, {}}, how)[0];
}

}  // namespace

TEST_CASE("masked_diffusion: training and evaluation mask the tokens of the transcription, with its weights") {
  CHECK(golden_files("masked_diffusion", [](const SafetensorsFile& file) {
          const auto o = read_objective(file.metadata().at("options"));
          const auto model = build_model_for(*o, kMixing, 7);
          check_hidden(*o, *model, file,
                       [&](const Tensor& seen, const Tensor& ids) { return nats(*model, seen, ids); });
        }) == 3);
}

TEST_CASE("masked_diffusion: the bound is above -log p of every text, whose p sum to 1, and is the mean over orders") {
  const Threads one(1);
  constexpr int32_t kVocab = 3;
  constexpr int64_t kLength = 4;
  const auto model = build_model_for(*objective(), kMixing, kVocab);
  double total = 0, least = 1, bound_sum = 0, estimate_sum = 0, variance = 0;
  for (int64_t number = 0; number < 81; ++number) {
    const Ids text = text_of(number, kLength, kVocab);
    const Conditionals all(*model, text);
    const double p = likelihood(all), bound = all.bound();
    total += p;
    CHECK(bound == doctest::Approx(mean(all.orders())).epsilon(1e-12));
    CHECK(bound > -std::log(p));
    least = std::min(least, bound + std::log(p));
    CHECK(score(*model, text, {.left_to_right = true}).nats == doctest::Approx(all.orders().front()).epsilon(1e-12));
    const RowScore estimate = score(*model, text, {.first = number, .samples = 64, .seed = 9});
    bound_sum += bound;
    estimate_sum += estimate.nats;
    variance += estimate.variance;
  }
  CHECK(total == doctest::Approx(1).epsilon(1e-12));
  CHECK(least > 1e-4);  // its conditionals do not agree with each other
  CHECK(std::abs(estimate_sum - bound_sum) < 3 * std::sqrt(variance));
  CHECK(std::sqrt(variance) < 0.02 * bound_sum);
}

TEST_CASE("masked_diffusion: where tokens are independent the bound is the likelihood") {
  const auto model = build_model_for(*objective(),
                                     "{d_model: 8, init: {std: 0.7}, tie_embeddings: false, layers: "
                                     "[{mixer: {type: attention, heads: 2}}]}",
                                     3);
  for (const Parameter* p : model->params().sorted())
    if (p->name.starts_with("layers.0.mixer.out")) fill(p->value, 0);  // no token sees another
  const Ids text = {2, 0, 1, 1, 2};
  const Conditionals all(*model, text);
  CHECK(all(0, 0) != all(0, 1));
  double exact = 0;
  for (size_t i = 0; i < text.size(); ++i) exact += all(0, i);
  CHECK(all.bound() == doctest::Approx(exact).epsilon(1e-12));
  CHECK(-std::log(likelihood(all)) == doctest::Approx(exact).epsilon(1e-12));
  CHECK(score(*model, text, {.left_to_right = true}).nats == doctest::Approx(exact).epsilon(1e-12));
  const RowScore many = score(*model, text, {.samples = 4000});
  CHECK(std::abs(many.nats - exact) < 3 * std::sqrt(many.variance));
  // Alike tokens cost the same however many are masked.
  for (const uint64_t seed : {1, 2, 3})
    CHECK(score(*model, {1, 1, 1, 1, 1}, {.seed = seed}).nats == doctest::Approx(5 * all(0, 2)).epsilon(1e-12));
  CHECK(std::isnan(score(*model, text, {}).variance));
}

namespace {

// -log p of eight tokens in four pairs: the first is 0 or 1, the second the same with p = 0.9.
double nats_of_pairs(const Ids& text) {
  double sum = 0;
  for (size_t i = 0; i < text.size(); i += 2) sum -= std::log(text[i] == text[i + 1] ? 0.45 : 0.05);
  return sum;
}

// A model that knows them: each token sees its partner alone, and says what that tells.
std::unique_ptr<LanguageModel> model_of_pairs() {
  auto model =
      build_model_for(*objective(),
                      "{d_model: 16, tie_embeddings: false, positions: learned, max_tokens: 8, final_norm: {eps: 0}, "
                      "block: {norm: {eps: 0}}, layers: [{mixer: {type: attention, heads: 1, position: none}}]}",
                      2, 8);
  const auto of = [&](std::string_view name) {
    const Parameter* p = model->params().find(name);
    REQUIRE_MESSAGE(p, std::string(name));
    fill(p->value, 0);
    return p->value;
  };
  // Features: eight of the place, one of the token, one of MASK, one for the answer.
  constexpr int64_t kToken = 8, kMask = 9, kAnswer = 10;
  const Tensor embedding = of("embedding.weight"), positions = of("positions.weight"), head = of("head.weight"),
               qkv = of("layers.0.mixer.qkv.weight");
  put(embedding, 0, kToken, 1);
  put(embedding, 1, kToken, -1);
  put(of("embedding.extra"), 0, kMask, 1);
  for (int64_t i = 0; i < 8; ++i) {
    put(positions, i, i, 1);
    put(qkv, i, i, 30);
    put(qkv, 16 + i, i ^ 1, 30);  // a key answers its partner
  }
  put(qkv, 32, kToken, 1);
  put(of("layers.0.mixer.out.weight"), kAnswer, 0, 1);
  // Two numbers of 16 are 1 before the layer, and behind it where the answer is the square root of 8.
  const double answer = std::sqrt(8.0) / std::sqrt((2 + 8.0) / 16), odds = std::log(0.9 / 0.1) / 2;
  put(head, 0, kAnswer, odds / answer);
  put(head, 1, kAnswer, -odds / answer);
  return model;
}

}  // namespace

TEST_CASE("masked_diffusion: of eight tokens that depend on each other the bound is the likelihood for who knows how") {
  const Threads one(1);
  const auto truth = model_of_pairs(), other = model_of_pairs();
  for (const Parameter* p : other->params().sorted()) {
    const Tensor noise = random(p->shape, fnv1a(p->name));
    for (int64_t r = 0; r < p->value.rows(); ++r)
      for (int64_t c = 0; c < p->value.cols(); ++c) put(p->value, r, c, at(p->value, r, c) + 0.2 * at(noise, r, c));
  }
  double total = 0, entropy = 0, of_other = 0;
  for (int64_t number = 0; number < 256; ++number) {
    const Ids text = text_of(number, 8, 2);
    const double exact = nats_of_pairs(text), p = std::exp(-exact);
    CHECK(Conditionals(*truth, text).bound() == doctest::Approx(exact).epsilon(1e-12));  // over all 2^8 masks
    CHECK(score(*truth, text, {.left_to_right = true}).nats == doctest::Approx(exact).epsilon(1e-12));
    total += p;
    entropy += p * exact;
    of_other += p * Conditionals(*other, text).bound();
  }
  CHECK(total == doctest::Approx(1).epsilon(1e-12));
  CHECK(of_other > entropy + 0.01);  // whoever knows less codes longer
  for (const int64_t number : {0, 37, 201}) {
    const Ids text = text_of(number, 8, 2);
    const Conditionals known(*truth, text), guessed(*other, text);
    CHECK(-std::log(likelihood(known)) == doctest::Approx(nats_of_pairs(text)).epsilon(1e-12));
    CHECK(guessed.bound() > -std::log(likelihood(guessed)) + 1e-4);
    for (const auto& [model, bound] : {std::pair{truth.get(), known.bound()}, {other.get(), guessed.bound()}}) {
      const RowScore many = score(*model, text, {.samples = 4000});
      CHECK(std::abs(many.nats - bound) < 4 * std::sqrt(many.variance));
      CHECK(std::sqrt(many.variance) < 0.02 * bound);
    }
  }
}

TEST_CASE("masked_diffusion: the mean of the loss is the bound, and a shard has the noise of the whole batch") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 3);
  const Ids text = {2, 0, 1, 1};
  Batch batch = batch_for(6, 4);
  for (int i = 0; i < 6; ++i)
    o->cut({.text = text, .begin = 0, .end = 4, .scored = 0, .document_starts = nullptr, .training = true}, batch);
  CHECK(batch.counted() == 24);
  Context cx;
  const auto loss = [&](int64_t first, int64_t rows) {
    cx.samples = 100 + first;
    return at(o->loss(*model, batch.rows(first, rows), 1, cx, nullptr), 0, 0);
  };
  double sum = 0, squares = 0;
  constexpr int kSteps = 4000;
  for (cx.step = 0; cx.step < kSteps; ++cx.step) {
    const double x = loss(0, 6) / 6;
    sum += x;
    squares += x * x;
  }
  const double m = sum / kSteps, error = std::sqrt((squares / kSteps - m * m) / kSteps);
  CHECK(std::abs(m - Conditionals(*model, text).bound()) < 3 * error);
  CHECK(error < 0.02 * m);
  check_noise(*o, *model, 3);
  CHECK(o->trains_score());
  CHECK_FALSE(objective(", eps: 1e-3")->trains_score());  // that loss is no bound
}

TEST_CASE("masked_diffusion: the gradient of all parameters by differences, MASK's embedding among them") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 5);
  const Tensor ids = random_ids(3, 7, 5, 1);
  Context cx;
  cx.phase = Phase::train;
  CHECK(check_gradient(*model, [&] { return o->loss(*model, {ids, ids, {}}, 1.0 / 21, cx, nullptr); }) > 1e-3);
}

TEST_CASE("masked_diffusion: on one batch with one noise the loss halves in thirty steps") {
  const Threads one(1);
  check_learns(*objective());
}

TEST_CASE("masked_diffusion: every token of a text is scored once by each protocol, from all of its document or none") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 6);
  const auto tokenizer = build_tokenizer("char", "abcdef");
  TokenizedText text;
  const RandomStream numbers(2, "masked_diffusion test");
  for (uint64_t i = 0; i < 29; ++i) text.tokens.push_back(static_cast<int32_t>(numbers.below(i, 6)));
  text.document_starts = {0, 5, 12};
  text.bytes = 29;
  const auto run = [&](EvalOptions how) { return evaluate(*model, *o, text, *tokenizer, how); };
  for (const char* name : {"windows", "sliding"}) {
    const EvalResult r = run({.protocol = protocol(name), .tokens = 8, .bound_samples = 2});
    CHECK(r.tokens == 29);
    CHECK(r.bound);
    CHECK(r.bound_stderr > 0);
    CHECK(r.measured()[0].metric->title == "upper bound of the cross entropy, estimated");
    CHECK(r.measured().back().name == "bound_stderr");
  }
  const EvalOptions whole = {.tokens = 29, .bound_samples = 3, .seed = 4};
  CHECK(run(whole).nats == run(whole).nats);
  EvalOptions other = whole;
  other.seed = 5;
  CHECK(run(other).nats != run(whole).nats);
  // Windows that are scored together, or each on a thread, have the draws of their place in the text.
  const auto windows = [&](int64_t batch, int n) {
    const Threads threads(n);
    return run({.tokens = 4, .batch = batch, .bound_samples = 3}).nats;
  };
  CHECK(windows(3, 1) == doctest::Approx(windows(1, 1)).epsilon(1e-12));
  CHECK(windows(3, 3) == windows(3, 1));

  const EvalResult ordered = run({.tokens = 29, .left_to_right = true, .reset_documents = true});
  CHECK_FALSE(ordered.bound);
  CHECK(ordered.tokens == 29);  // the first of a document too
  double alone = 0;
  for (const auto& [from, to] : {std::pair{0, 5}, {5, 12}, {12, 29}})
    alone += score(*model, {text.tokens.begin() + from, text.tokens.begin() + to}, {.left_to_right = true}).nats;
  CHECK(ordered.nats == doctest::Approx(alone).epsilon(1e-12));
  // A sliding window's first tokens are known: with a stride of 1, each token after all before it, and none masked.
  const double each = run({.protocol = protocol("sliding", 1), .tokens = 4}).nats;
  double expected = score(*model, {text.tokens.begin(), text.tokens.begin() + 4}, {}).nats;
  for (size_t i = 1; i + 4 <= 29; ++i) {
    const auto from = text.tokens.begin() + static_cast<ptrdiff_t>(i);
    Ids seen(from, from + 4);
    seen.back() = 6;
    expected += nats(*model, ids_of(seen, 1), ids_of({from, from + 4}, 1)).back();
  }
  CHECK(each == doctest::Approx(expected).epsilon(1e-12));
  CHECK_THROWS_WITH_AS(run({.protocol = protocol("carried"), .tokens = 8}), doctest::Contains("carries no state"),
                       ConfigError);
  State state = model->make_state(1, 8);
  const Tensor ids = ids_of({1, 2}, 1);
  CHECK_THROWS_AS(o->score(*model, {ids, ids, {}}, {.state = &state}), ShapeError);
  CHECK_THROWS_AS(o->loss(*model, {ids, ids, {}}, 1, {}, &state), ShapeError);
}

TEST_CASE("masked_diffusion: a run tells that its losses are bounds, and writes a sample") {
  const Threads one(1);
  const TinyFolder t("masked_diffusion_run");
  const RunOutcome done = train(t, {"objective.type=masked_diffusion", "eval.bound_samples=3", "eval.sample_tokens=20",
                                    "model.layers=[{mixer: {type: attention, heads: 2}}]"});
  CHECK(done.bound);
  const JournalData journal = read_journal(done.folder / "metrics.jsonl");
  CHECK(journal.find("val")->find("bound_stderr")->back() > 0);
  CHECK(done.best_val < 1.5 * journal.find("train")->find("loss")->front());
  CHECK(has(slurp(done.folder / "log.txt"), "loss <= "));
  CHECK_FALSE(std::filesystem::is_empty(done.folder / "samples"));
}
