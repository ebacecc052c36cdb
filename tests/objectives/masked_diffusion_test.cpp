// Masked diffusion against a transcription of its masks, and its bound against likelihoods that can be enumerated.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "base/random.h"
#include "config/expect.h"
#include "eval/evaluator.h"
#include "store/journal.h"
#include "store/safetensors.h"
#include "support/models.h"
#include "support/named.h"
#include "support/paths.h"
#include "support/run_calls.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

using Ids = std::vector<int32_t>;

constexpr std::string_view kMixing =
    "{d_model: 8, init: {std: 0.7}, tie_embeddings: false, block: {ffn: {type: swiglu}}, layers: [{mixer: {type: "
    "attention, heads: 2}}, {mixer: {type: attention, heads: 2}}]}";

std::unique_ptr<Objective> objective(const std::string& own = "") {
  return all_objectives.read(parse_config("{type: masked_diffusion" + own + "}", "o.yaml")).build();
}

Tensor ids_of(const Ids& ids, int64_t rows) {
  const Tensor t = Tensor::dense({rows, static_cast<int64_t>(ids.size()) / rows}, DType::i32);
  std::ranges::copy(ids, t.data<int32_t>());
  return t;
}

// Of each token -log p(id) under the model that sees `seen`, both [B, T].
std::vector<double> nats(const LanguageModel& model, const Tensor& seen, const Tensor& ids) {
  const Tensor logits = model.logits(seen, {});
  std::vector<double> all;
  for (int64_t i = 0; i < ids.numel(); ++i) {
    double z = 0;
    for (int64_t q = 0; q < model.vocab(); ++q) z += std::exp(at(logits, i, q));
    all.push_back(std::log(z) - at(logits, i, ids.data<int32_t>()[i]));
  }
  return all;
}

template <class T>
std::vector<T> values(const SafetensorsFile& file, const char* name) {
  const StoredTensor* t = file.find(name);
  std::vector<T> all(t->bytes / sizeof(T));
  std::memcpy(all.data(), t->data, t->bytes);
  return all;
}

// All that is to be known of a text of L tokens: -log p of each token, given those that a set of bits shows.
class Conditionals {
 public:
  Conditionals(const LanguageModel& model, const Ids& text) : length_(text.size()) {
    const auto mask = static_cast<int32_t>(model.vocab());
    Ids seen, all;
    for (size_t shown = 0; shown < size_t{1} << length_; ++shown)
      for (size_t i = 0; i < length_; ++i) {
        seen.push_back(shown >> i & 1 ? text[i] : mask);
        all.push_back(text[i]);
      }
    const int64_t rows = int64_t{1} << length_;
    nats_ = nats(model, ids_of(seen, rows), ids_of(all, rows));
  }
  double operator()(size_t shown, size_t i) const { return nats_[shown * length_ + i]; }
  // -log p of the text in each of its L! orders.
  std::vector<double> orders() const {
    std::vector<size_t> order(length_);
    std::iota(order.begin(), order.end(), size_t{0});
    std::vector<double> all;
    do {
      size_t shown = 0;
      double sum = 0;
      for (const size_t i : order) {
        sum += (*this)(shown, i);
        shown |= size_t{1} << i;
      }
      all.push_back(sum);
    } while (std::ranges::next_permutation(order).found);
    return all;
  }
  // The mean of L / l sum -log p over l in 1 .. L and the sets of l masked tokens.
  double bound() const {
    std::vector<double> sums(length_ + 1), sets(length_ + 1);
    for (size_t shown = 0; shown + 1 < size_t{1} << length_; ++shown) {
      const size_t masked = length_ - static_cast<size_t>(std::popcount(shown));
      ++sets[masked];
      for (size_t i = 0; i < length_; ++i)
        if (!(shown >> i & 1)) sums[masked] += (*this)(shown, i);
    }
    double all = 0;
    for (size_t l = 1; l <= length_; ++l) all += sums[l] / sets[l] / static_cast<double>(l);
    return all;
  }

 private:
  size_t length_;
  std::vector<double> nats_;
};

double mean(const std::vector<double>& x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

// Of the mixture of all orders.
double likelihood(const Conditionals& text) {
  std::vector<double> p;
  for (const double n : text.orders()) p.push_back(std::exp(-n));
  return mean(p);
}

RowScore score(const LanguageModel& model, const Ids& text, Scoring how) {
  const Tensor ids = ids_of(text, 1);
  return objective()->score(model, {ids, ids, {}}, how)[0];
}

}  // namespace

TEST_CASE("masked_diffusion: training and evaluation mask the tokens of the transcription, with its weights") {
  int found = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::filesystem::path(test::kSourceDir) / "tests/golden")) {
    const std::string name = entry.path().filename().string();
    if (!name.starts_with("masked_diffusion.")) continue;
    CAPTURE(name);
    ++found;
    const SafetensorsFile file(entry.path());
    const auto number = [&](const char* key) { return std::stoll(file.metadata().at(key)); };
    const auto o = all_objectives.read(parse_config(file.metadata().at("options"), "golden")).build();
    const auto model = build_model_for(*o, kMixing, 7);
    constexpr int64_t kRows = 3;
    const Tensor ids = ids_of(values<int32_t>(file, "text"), kRows);
    const auto weights = values<double>(file, "weights");
    const auto expected = [&](const Ids& seen, const std::vector<double>& of_tokens, int64_t row) {
      const std::vector<double> all = nats(*model, ids_of(seen, kRows), ids);
      double sum = 0;
      for (int64_t i = 0; i < ids.numel(); ++i)
        if (row < 0 || i / ids.dim(1) == row) sum += of_tokens[static_cast<size_t>(i)] * all[static_cast<size_t>(i)];
      return sum;
    };
    Context cx;
    cx.seed = static_cast<uint64_t>(number("seed"));
    cx.step = number("step");
    cx.samples = number("sample");
    const BatchRows rows = {ids, ids, {}, number("place"), number("batch")};
    CHECK(at(o->loss(*model, rows, 0.5, cx, nullptr), 0, 0) ==
          doctest::Approx(0.5 * expected(values<int32_t>(file, "seen"), weights, -1)).epsilon(1e-12));

    const auto draws = values<int32_t>(file, "draws");
    const auto draw_weights = values<double>(file, "draw_weights");
    const int64_t known = number("known"), tokens = ids.dim(1);
    const Tensor targets = ids.clone();
    for (int64_t i = 0; i < ids.numel(); ++i)
      if (i % tokens < known) targets.data<int32_t>()[i] = kIgnoredTarget;
    const auto count = static_cast<int64_t>(draws.size()) / ids.numel();
    const auto scores =
        o->score(*model, {ids, targets, {}}, {.first = number("row"), .samples = count, .seed = cx.seed});
    for (int64_t b = 0; b < kRows; ++b) {
      std::vector<double> each;
      for (int64_t k = 0; k < count; ++k) {
        const auto from = static_cast<ptrdiff_t>(k * ids.numel()), to = from + static_cast<ptrdiff_t>(ids.numel());
        each.push_back(expected({draws.begin() + from, draws.begin() + to},
                                {draw_weights.begin() + from, draw_weights.begin() + to}, b));
      }
      double squares = 0;
      for (const double x : each) squares += (x - mean(each)) * (x - mean(each));
      const auto k = static_cast<double>(count);
      CHECK(scores[static_cast<size_t>(b)].nats == doctest::Approx(mean(each)).epsilon(1e-12));
      CHECK(scores[static_cast<size_t>(b)].variance == doctest::Approx(squares / (k * (k - 1))).epsilon(1e-9));
    }
  }
  CHECK(found == 3);
}

TEST_CASE("masked_diffusion: the bound is above -log p of every text, whose p sum to 1, and is the mean over orders") {
  const Threads one(1);
  constexpr int32_t kVocab = 3;
  constexpr size_t kLength = 4;
  const auto model = build_model_for(*objective(), kMixing, kVocab);
  double total = 0, least = 1, bound_sum = 0, estimate_sum = 0, variance = 0;
  for (int64_t number = 0; number < 81; ++number) {
    Ids text;
    for (int64_t i = 0, rest = number; i < static_cast<int64_t>(kLength); ++i, rest /= kVocab)
      text.push_back(static_cast<int32_t>(rest % kVocab));
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
  for (cx.step = 0; cx.step < 4; ++cx.step) {
    const double whole = loss(0, 6);
    for (const int64_t cut : {1, 2, 5})
      CHECK(loss(0, cut) + loss(cut, 6 - cut) == doctest::Approx(whole).epsilon(1e-12));
  }
  // Other steps, seeds and samples have other noise.
  std::vector<double> all = {loss(0, 6)};
  ++cx.step, all.push_back(loss(0, 6));
  ++cx.seed, all.push_back(loss(0, 6));
  std::ranges::sort(all);
  CHECK(std::ranges::adjacent_find(all) == all.end());
}

TEST_CASE("masked_diffusion: the gradient of all parameters by differences, MASK's embedding among them") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 5);
  const Tensor ids = random_ids(3, 7, 5, 1);
  Context cx;
  cx.phase = Phase::train;
  const auto loss = [&] { return o->loss(*model, {ids, ids, {}}, 1.0 / 21, cx, nullptr); };
  const ParamStore& params = model->params();
  const Slab gradient(params.slab_elements(), DType::f64);
  loss_gradient(*model, loss, gradient);
  double mask = 0;
  for (const Parameter* p : params.sorted())
    for (int64_t i = 0; i < p->shape.numel(); i += p->name == "embedding.extra" ? 1 : 3) {
      const int64_t row = i / p->shape.cols(), col = i % p->shape.cols();
      const double before = at(p->value, row, col);
      double slope = 0;
      for (const double sign : {1.0, -1.0}) {
        put(p->value, row, col, before + sign * 1e-5);
        slope += sign * at(loss(), 0, 0) / 2e-5;
      }
      put(p->value, row, col, before);
      CHECK_MESSAGE(std::abs(at(params.view(gradient, *p), row, col) - slope) < 1e-7, p->name);
      if (p->name == "embedding.extra") mask += std::abs(slope);
    }
  CHECK(mask > 1e-3);
}

TEST_CASE("masked_diffusion: on one batch with one noise the loss halves in thirty steps") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 11, 16, DType::f32);
  const RandomStream numbers(1, "masked_diffusion test");
  TokenizedText text;
  for (uint64_t i = 0; i < 100; ++i) text.tokens.push_back(static_cast<int32_t>(numbers.below(i, 11)));
  OptimOptions options;
  options.lr = 0.03;
  const auto optimizer = build_optimizer(options, {}, model->params());
  Trainer trainer(*model, *o, *optimizer, plan_shards(4, 16, 1, 64, 1000), {});
  const Batch batch = build_order("streams", text, {4, 16}, 1, false, *o)->at(0);
  const double first = trainer.step(batch, 0, 1).loss;
  double last = first;
  for (int i = 0; i < 30; ++i) last = trainer.step(batch, 0, 1).loss;
  CHECK(last < first / 2);
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
