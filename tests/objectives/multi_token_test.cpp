// Several tokens at once against a transcription of heads and targets, and what heads leave as it was.
#include <doctest/doctest.h>

#include <cstring>

#include "checkpoint/checkpoint.h"
#include "eval/evaluator.h"
#include "model/describe.h"
#include "support/golden.h"
#include "support/gradients.h"
#include "support/messages.h"
#include "support/models.h"
#include "support/named.h"
#include "support/run_calls.h"
#include "train/loaded_model.h"
#include "train/rehearsal.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

using Ids = std::vector<int32_t>;
using Places = std::vector<int64_t>;

constexpr int64_t kVocab = 11, kTokens = 6;
constexpr const char* kTwo =
    "{d_model: 8, init: {std: 0.5}, layers: [{mixer: min_gru, ffn: mlp}, {mixer: {type: attention, heads: 2, window: "
    "4}, "
    "ffn: mlp}]}";

std::unique_ptr<Objective> objective(const std::string& options) {
  return all_objectives.read(parse_config("{type: multi_token, " + options + "}", "test")).build();
}

template <class T>
std::vector<T> values(const SafetensorsFile& file, const char* name) {
  const StoredTensor* t = file.find(name);
  REQUIRE(t);
  std::vector<T> all(t->bytes / sizeof(T));
  std::memcpy(all.data(), t->data, t->bytes);
  return all;
}

// Rows of a text as training cuts them.
Batch rows_of(const Objective& o, const Ids& text, const Places& begins, int64_t tokens, const Places& starts = {}) {
  Batch b = batch_for(static_cast<int64_t>(begins.size()), tokens);
  for (const int64_t begin : begins)
    o.cut({.text = text,
           .begin = begin,
           .end = begin + tokens,
           .scored = begin,
           .document_starts = starts.empty() ? nullptr : &starts,
           .training = true},
          b);
  return b;
}

Ids text_of(int64_t tokens, uint64_t seed = 1) {
  const Tensor ids = random_ids(1, tokens, kVocab, seed);
  return {ids.data<int32_t>(), ids.data<int32_t>() + tokens};
}

struct Step {
  Ledger ledger;
  double loss = 0;
  double row(std::string_view name) const { return row_of(ledger, name); }
};

Tensor loss_of(const Objective& o, const LanguageModel& model, const Batch& b, Ledger& ledger, State* state = nullptr,
               int64_t step = 0) {
  ledger = Ledger(b.counted());
  Context cx;
  cx.phase = Phase::train;
  cx.step = step;
  cx.ledger = &ledger;
  return o.loss(model, b.rows(0, b.batch), 1 / static_cast<double>(b.counted()), cx, state);
}

Step step_of(const Objective& o, const LanguageModel& model, const Batch& b, State* state = nullptr) {
  Step s;
  s.loss = at(loss_of(o, model, b, s.ledger, state), 0, 0);
  return s;
}

}  // namespace

TEST_CASE("multi_token: targets, logits and losses of each head are those of the transcription") {
  const Threads one(1);
  for_each_golden("multi_token", "objective", [](const SafetensorsFile& file) {
    const auto o = all_objectives.read(parse_config(file.metadata().at("options"), "golden")).build();
    const int64_t n = o->lookahead();
    const auto model = build_model_for(*o, file.metadata().at("model"), kVocab);
    for (const Parameter* p : model->params().sorted()) {
      const Tensor t = golden_tensor(file, "param." + p->name);
      REQUIRE_MESSAGE(t.shape() == p->shape, p->name);
      copy(t, p->value);
    }
    const Ids text = values<int32_t>(file, "text"), want = values<int32_t>(file, "targets");
    const Places begins = values<int64_t>(file, "begins"), starts = values<int64_t>(file, "starts");
    const auto rows = static_cast<int64_t>(begins.size()), tokens = static_cast<int64_t>(want.size()) / (n * rows);
    const Batch b = rows_of(*o, text, begins, tokens, starts);
    const BatchRows r = b.rows(0, rows);
    const auto target = [&](int64_t k, int64_t i) { return want[static_cast<size_t>((k - 1) * rows * tokens + i)]; };
    for (int64_t i = 0; i < rows * tokens; ++i) {
      CHECK(r.targets.data<int32_t>()[i] == target(1, i));
      for (int64_t k = 2; k <= n; ++k) CHECK(r.further.data<int32_t>()[i * (n - 1) + k - 2] == target(k, i));
    }
    for (int64_t row = 0; n > 1 && row < rows; ++row) {  // as a shard has it
      const Tensor own = b.rows(row, 1).further;
      for (int64_t i = 0; i < tokens; ++i) CHECK(own.data<int32_t>()[i * (n - 1)] == target(2, row * tokens + i));
    }
    // Heads alone, for who decodes with them.
    const auto read = [&](int64_t ahead) {
      const Tensor ids = Tensor::dense({rows, tokens}, DType::i32);
      for (int64_t i = 0; i < rows * tokens; ++i)
        ids.data<int32_t>()[i] =
            text[static_cast<size_t>(begins[static_cast<size_t>(i / tokens)] + i % tokens + ahead - 1)];
      return ids;
    };
    const std::vector<Tensor> x = model->bodies(r.inputs, read, with_documents({}, r), nullptr);
    const Tensor logits = golden_tensor(file, "logits"), losses = golden_tensor(file, "loss");
    REQUIRE(static_cast<int64_t>(x.size()) == n);
    for (int64_t k = 1; k <= n; ++k) {
      const auto& stream = x[static_cast<size_t>(k - 1)];
      const Tensor got = model->head(stream, k);
      CHECK(max_diff(got, logits.row_range((k - 1) * rows * tokens, got.shape())) < 1e-12);
    }
    const Step s = step_of(*o, *model, b);
    CHECK(s.loss == doctest::Approx(at(losses, 0, 0) / static_cast<double>(b.counted())).epsilon(1e-12));
    for (int64_t k = 2; k <= n; ++k) {
      int64_t counted = 0;
      for (int64_t i = 0; i < rows * tokens; ++i) counted += target(k, i) != kIgnoredTarget;
      CHECK(s.row("heads." + std::to_string(k) + ".loss") ==
            doctest::Approx(at(losses, 0, k - 1) / static_cast<double>(counted)).epsilon(1e-12));
    }
  });
}

TEST_CASE("multi_token: of one token it is next_token, to the bit") {
  const Threads one(1);
  const auto o = objective("tokens: 1");
  const auto model = build_model_for(*o, kTwo, kVocab), plain = build_model(kTwo, kVocab);
  CHECK(model->params().count() == plain->params().count());
  const Ids text = text_of(60);
  const Batch b = rows_of(*o, text, {0, 20, 30}, kTokens), same = rows_of(next_token(), text, {0, 20, 30}, kTokens);
  CHECK(b.targets == same.targets);
  CHECK(b.further.empty());
  Ledger ledger;
  Slab one_token(model->params().slab_elements(), DType::f64), next(one_token.elements(), DType::f64);
  const double loss = loss_gradient(
      *model, [&] { return loss_of(*o, *model, b, ledger); }, one_token);
  CHECK(ledger.rows().empty());
  CHECK(loss == loss_gradient(
                    *plain, [&] { return loss_of(next_token(), *plain, same, ledger); }, next));
  for (const Parameter* p : model->params().sorted())
    CHECK(same_bits(model->params().view(one_token, *p), plain->params().view(next, *plain->params().find(p->name))));
}

TEST_CASE("multi_token: the gradient is that of the next token's loss and the weighted losses of the others") {
  const Threads one(1);
  const Places starts = {0, 3, 4, 23};
  for (const std::string form : {"parallel", "sequential"}) {
    const auto o = objective("tokens: 3, weight: 0.7, form: " + form);
    const auto model = build_model_for(*o, kTwo, kVocab);
    const Batch b = rows_of(*o, text_of(40), {0, 20}, kTokens, starts);
    Ledger ledger;
    Slab gradient(model->params().slab_elements(), DType::f64);
    loss_gradient(
        *model, [&] { return loss_of(*o, *model, b, ledger); }, gradient);
    std::array<double, 2> counted{};  // of heads 2 and 3
    for (size_t i = 0; i < b.further.size(); ++i) counted[i % 2] += b.further[i] != kIgnoredTarget;
    CHECK(counted[1] < counted[0]);
    const auto targets = static_cast<double>(b.counted());
    const auto minimised = [&] {
      const Step s = step_of(*o, *model, b);
      return s.loss + 0.7 * (s.row("heads.2.loss") * counted[0] + s.row("heads.3.loss") * counted[1]) / targets;
    };
    check_slopes(*model, gradient, minimised, 7);
  }
}

TEST_CASE("multi_token: weight is 1 for each head side by side, and 0.3 for all modules in a row") {
  const Threads one(1);
  const auto same = [](const char* without, const char* with) {
    const auto a = objective(without), b = objective(with);
    const auto model = build_model_for(*a, kTwo, kVocab);
    const Batch batch = rows_of(*a, text_of(40), {0, 20}, kTokens);
    Ledger ledger;
    Slab one_slab(model->params().slab_elements(), DType::f64), other(one_slab.elements(), DType::f64);
    loss_gradient(
        *model, [&] { return loss_of(*a, *model, batch, ledger); }, one_slab);
    loss_gradient(
        *model, [&] { return loss_of(*b, *model, batch, ledger); }, other);
    return std::ranges::all_of(model->params().sorted(), [&](const Parameter* p) {
      return max_diff(model->params().view(one_slab, *p), model->params().view(other, *p)) < 1e-15;
    });
  };
  CHECK(same("tokens: 3", "tokens: 3, form: parallel, weight: 1"));
  CHECK(same("tokens: 4, form: sequential", "tokens: 4, form: sequential, weight: 0.1"));
  CHECK_FALSE(same("tokens: 3", "tokens: 3, weight: 0.5"));
}

TEST_CASE("multi_token: the next token's head is the model, whatever the others are, in scores and in its state") {
  const Threads one(1);
  const auto plain = build_model(kTwo, kVocab);
  TokenizedText text;
  text.tokens = text_of(200);
  text.document_starts = {0};
  for (const std::string form : {"parallel", "sequential"}) {
    const auto o = objective("tokens: 3, form: " + form);
    const auto model = build_model_for(*o, kTwo, kVocab);
    CHECK(model->params().count() > plain->params().count());
    CHECK(model->further() == 2);
    const BatchRows r = rows_of(*o, text.tokens, {0, 50}, kTokens).rows(0, 0);
    const Tensor ids = random_ids(2, kTokens, kVocab, 3);
    CHECK(same_bits(model->logits(ids, {}), plain->logits(ids, {})));
    // Evaluation cuts no further targets.
    Batch b = batch_for(1, kTokens);
    o->cut({.text = text.tokens, .begin = 0, .end = kTokens, .scored = 2, .document_starts = nullptr}, b);
    CHECK(b.further.empty());
    const auto nats = [&](const Objective& by, const LanguageModel& m) {
      return by.score(m, b.rows(0, 1), {})[0].nats;
    };
    CHECK(nats(*o, *model) == nats(next_token(), *plain));
    // Rows that go on where they ended, be it in two calls or in one.
    State whole = model->training_state(2, 2 * kTokens), parts = model->training_state(2, 2 * kTokens);
    const Batch both = rows_of(*o, text.tokens, {0, 60}, 2 * kTokens),
                first = rows_of(*o, text.tokens, {0, 60}, kTokens),
                second = rows_of(*o, text.tokens, {kTokens, 60 + kTokens}, kTokens);
    const Step a = step_of(*o, *model, both, &whole), c = step_of(*o, *model, first, &parts),
               d = step_of(*o, *model, second, &parts);
    CHECK(a.loss == doctest::Approx((c.loss + d.loss) / 2).epsilon(1e-12));
    for (const char* name : {"heads.2.loss", "heads.3.loss"})
      CHECK(a.row(name) == doctest::Approx((c.row(name) + d.row(name)) / 2).epsilon(1e-12));
    bool heads = false;
    whole.each([&](const StateField& f, const Tensor& t) {
      if (f.path.starts_with("heads.3") && !f.count) heads = heads || max_abs(t) > 0;
    });
    CHECK(heads);
  }
}

TEST_CASE("multi_token: documents are not crossed: neither losses nor gradients know of what is beyond") {
  const Threads one(1);
  for (const std::string form : {"parallel", "sequential"}) {
    CAPTURE(form);
    const auto o = objective("tokens: 4, form: " + form);
    const auto model = build_model_for(*o, kTwo, kVocab);
    Ids text = text_of(40);
    const Places starts = {0, 4, kTokens + 2};  // inside the row, and after it where its targets are
    const auto gradient = [&] {
      const Batch b = rows_of(*o, text, {0}, kTokens, starts);
      Ledger ledger;
      Slab g(model->params().slab_elements(), DType::f64);
      const double loss = loss_gradient(
          *model, [&] { return loss_of(*o, *model, b, ledger); }, g);
      std::vector<double> all = {loss};
      for (const Measured& m : ledger.rows()) all.push_back(m.value);
      for (const Parameter* p : model->params().sorted()) all.push_back(max_abs(model->params().view(g, *p)));
      return all;
    };
    const std::vector<double> before = gradient();
    for (const size_t i : {kTokens + 2, kTokens + 3}) text[i] = (text[i] + 1) % kVocab;
    CHECK(gradient() == before);
    text[kTokens + 1] = (text[kTokens + 1] + 1) % kVocab;  // of the row's last document
    CHECK(gradient() != before);
  }
}

TEST_CASE("multi_token: recomputing and the number of threads change no bit, with states that are carried too") {
  TokenizedText source;
  for (int64_t i = 0; i < 4000; ++i) {
    source.tokens.push_back(static_cast<int32_t>((i * i + i / 7) % kVocab));
    if (i % 61 == 0) source.document_starts.push_back(i);
  }
  source.bytes = 4000;
  for (const std::string form : {"parallel", "sequential"})
    for (const bool carry : {false, true}) {
      const auto hash = [&](int threads, bool recompute) {
        const Threads n(threads);
        const auto o = objective("tokens: 3, form: " + form);
        const auto model = build_model_for(*o, kTwo, kVocab, 12, DType::f32);
        const auto order = build_order(carry ? "streams" : "shuffled_windows", source, {8, 12}, 1, true, *o);
        const auto optimizer = build_optimizer(OptimOptions(), {}, model->params());
        Trainer trainer(*model, *o, *optimizer, plan_shards(8, 12, 2, 24, model->params().count()),
                        {.seed = 3, .carry_state = carry, .recompute = recompute});
        for (int64_t t = 0; t < 8; ++t) REQUIRE(trainer.step(order->at(t * 8), t, 1).finite);
        return parameter_hash(model->params());
      };
      CAPTURE(form);
      CAPTURE(carry);
      const std::string alone = hash(1, false);
      CHECK(hash(2, false) == alone);
      CHECK(hash(3, false) == alone);
      CHECK(hash(1, true) == alone);
    }
}

TEST_CASE("multi_token: heads are counted, in parameters, FLOPs and memory") {
  const auto config = [](const std::string& objective) {
    return read_run_config(
        parse_config(
            "model: {d_model: 16, layers: [{repeat: 2, of: [{mixer: {type: attention, heads: 2}, ffn: mlp}]}]}\n"
            "objective: " +
                objective + "\ntrain: {batch: 4, context: 16, max_steps: 5, lanes: 1}\n",
            "c.yaml"),
        "c.yaml");
  };
  const RunConfig plain = config("{type: next_token}"), wide = config("{type: multi_token, tokens: 3}"),
                  deep = config("{type: multi_token, tokens: 3, form: sequential}");
  const ModelCost before = count_cost(plain.model, kVocab, 16);
  const int64_t block = before.layers[2].parameters;
  for (const RunConfig* c : {&wide, &deep}) {
    const auto model = model_on_shapes(c->model, kVocab);
    const ModelCost cost = count_cost(c->model, kVocab, 16);
    const int64_t own = c == &deep ? 2 * 16 * 16 + 3 * 16 : 0;
    CHECK(cost.total.parameters == before.total.parameters + 2 * (block + own));
    CHECK(cost.total.parameters == model->params().count());
    CHECK(cost.total.train_flops == doctest::Approx(train_flops_per_token(*model, 16)).epsilon(1e-12));
    CHECK(cost.total.train_flops > before.total.train_flops + 2 * before.layers[2].train_flops);
    CHECK(cost.total.prefill_flops == before.total.prefill_flops);
    CHECK(cost.total.decode_flops == before.total.decode_flops);
    CHECK(cost.total.state_bytes == before.total.state_bytes);  // of decoding, where nobody runs them
    CHECK(cost.layers.back().state_bytes == 0);
    CHECK(cost.lengths[0].state_bytes == before.lengths[0].state_bytes);
    CHECK(cost.layers.back().what == "heads.3 attention + mlp");
    CHECK(cost.kept_bytes > before.kept_bytes);
    Rehearsal r(*c, *model);
    CHECK(r.step().rows().size() == 2);
  }
}

TEST_CASE("multi_token: a run saves its heads, goes on with them, and reports the loss of each") {
  const Threads one(1);
  const TinyFolder t("multi_token_run");
  const Sets same = {"objective={type: multi_token, tokens: 3, form: sequential}", "train.log_every=5"};
  const RunFolder whole(train(t, with(same, {"name=whole", "train.max_steps=20"})).folder);
  const LoadedModel m = load_model(whole.path());
  CHECK(m.model->further() == 2);
  CHECK(m.model->params().find("heads.3.projection.weight"));
  const JournalData journal = read_journal(whole.path() / "metrics.jsonl");
  for (const char* name : {"heads.2.loss", "heads.3.loss"}) {
    const std::vector<double>* row = journal.find("train")->find(name);
    REQUIRE(row);
    CHECK(row->back() < row->front());
  }
  const RunFolder part(train(t, with(same, {"name=part", "train.max_steps=7"})).folder);
  train(t, with(same, {"name=part", "train.max_steps=20"}), true);
  CHECK(hash_of(part.checkpoint(20)) == hash_of(whole.checkpoint(20)));
}

TEST_CASE("multi_token: what decodes has no room for heads, what training carries on has") {
  for (const std::string form : {"parallel", "sequential"}) {
    const auto o = objective("tokens: 3, form: " + form);
    const auto model = build_model_for(*o, kTwo, kVocab), plain = build_model(kTwo, kVocab);
    const auto paths = [](const State& s) {
      std::vector<std::string> all;
      s.each([&](const StateField& f, const Tensor& t) { all.push_back(f.path + t.shape().str()); });
      return all;
    };
    const std::vector<std::string> decoding = paths(model->make_state(2, 9));
    CHECK(decoding == paths(plain->make_state(2, 9)));
    CHECK(paths(model->training_state(2, 9)).size() > decoding.size());
    // And it goes on as the model alone does.
    State a = model->make_state(1, 9), b = plain->make_state(1, 9);
    for (const uint64_t seed : {1U, 2U}) {
      const Tensor ids = random_ids(1, 4, kVocab, seed);
      CHECK(same_bits(model->logits(ids, {}, &a), plain->logits(ids, {}, &b)));
    }
    State branch = a;
    CHECK(same_bits(model->logits(random_ids(1, 1, kVocab, 3), {}, &branch),
                    plain->logits(random_ids(1, 1, kVocab, 3), {}, &b)));
  }
}

TEST_CASE("multi_token: a head without a target in a batch has no row, its name is known all the same") {
  const Threads one(1);
  const auto o = objective("tokens: 3");
  const auto model = build_model_for(*o, kTwo, kVocab);
  // Documents of two tokens: the token after the next is always another document's.
  const Batch b = rows_of(*o, text_of(40), {0}, kTokens, {0, 2, 4, 6, 8, 10});
  CHECK(b.counted() > 0);
  const Step s = step_of(*o, *model, b);
  CHECK(s.ledger.rows().empty());
  const Step some = step_of(*o, *model, rows_of(*o, text_of(40), {0}, kTokens, {0, 3, 6, 9}));
  REQUIRE(some.ledger.rows().size() == 1);
  CHECK(some.ledger.rows()[0].name == "heads.2.loss");
}

TEST_CASE("multi_token: routers of heads share what the balance of all layers weighs") {
  const Threads one(1);
  const auto o = objective("tokens: 2, weight: 0.5");
  constexpr double kBalance = 0.7;
  const auto model = build_model_for(*o,
                                     "{d_model: 8, init: {std: 0.5}, block: {ffn: {type: moe, experts: 3, top_k: 2, "
                                     "expand: 1, balance: 0.7, balance_tokens: sequence}}, "
                                     "layers: [{mixer: {type: gla, heads: 2}}, {mixer: {type: gla, heads: 2}}]}",
                                     kVocab);
  const Batch b = rows_of(*o, text_of(40), {0, 20}, kTokens);
  Ledger ledger;
  Context cx;
  cx.phase = Phase::train;
  cx.ledger = &ledger;
  const auto loss = [&] {
    ledger = Ledger(b.counted(), b.batch * b.tokens);
    return o->loss(*model, b.rows(0, b.batch), 1 / static_cast<double>(b.counted()), cx, nullptr);
  };
  Slab gradient(model->params().slab_elements(), DType::f64);
  loss_gradient(*model, loss, gradient);
  double counted = 0;
  for (const int32_t t : b.further) counted += t != kIgnoredTarget;
  const auto minimised = [&] {
    const double next = at(loss(), 0, 0);
    double balance = 0;
    for (const char* place : {"layers.0.ffn", "layers.1.ffn", "heads.2.ffn"})
      balance += row_of(ledger, std::string(place) + ".balance");
    return next + 0.5 * row_of(ledger, "heads.2.loss") * counted / static_cast<double>(b.counted()) +
           kBalance * balance / 3;
  };
  check_slopes(*model, gradient, minimised, 7, 1e-7);
}

TEST_CASE("multi_token: heads take values of earlier layers, and of the last where they come after it") {
  const Threads one(1);
  const auto of_layers = [](const std::string& form, const std::string& first, const std::string& last) {
    return build_model_for(*objective("tokens: 3, form: " + form),
                           "{d_model: 8, init: {std: 0.5}, layers: [{mixer: " + first + "}, {mixer: " + last + "}]}",
                           kVocab);
  };
  const std::string values = "{type: attention, heads: 2, value_residual: 0.5}", plain = "{type: attention, heads: 2}";
  CHECK(has(message_of<ConfigError>([&] { of_layers("parallel", plain, values); }),
            "the last layer gives `values`, and heads beside it would take its instead of their own"));
  for (const auto& [form, first] :
       {std::pair<std::string, std::string>{"parallel", values}, {"sequential", values}, {"sequential", plain}}) {
    CAPTURE(form);
    CAPTURE(first);
    const auto o = objective("tokens: 3, weight: 0.7, form: " + form);
    const auto model = of_layers(form, first, values);
    CHECK(model->further_site(2).needs("values"));
    const Batch b = rows_of(*o, text_of(40), {0, 20}, kTokens);
    std::vector<std::unique_ptr<Slab>> gradients;
    std::vector<double> counted(2);
    for (size_t i = 0; i < b.further.size(); ++i) counted[i % 2] += b.further[i] != kIgnoredTarget;
    Ledger ledger;
    for (const bool again : {false, true}) {
      gradients.push_back(std::make_unique<Slab>(model->params().slab_elements(), DType::f64));
      loss_gradient(
          *model,
          [&] {
            ledger = Ledger(b.counted());
            Context cx;
            cx.phase = Phase::train;
            cx.ledger = &ledger;
            cx.recompute = again;
            return o->loss(*model, b.rows(0, b.batch), 1 / static_cast<double>(b.counted()), cx, nullptr);
          },
          *gradients.back());
    }
    for (const Parameter* p : model->params().sorted())
      CHECK_MESSAGE(same_bits(model->params().view(*gradients[0], *p), model->params().view(*gradients[1], *p)),
                    p->name);
    const auto minimised = [&] {
      const Step s = step_of(*o, *model, b);
      return s.loss + 0.7 * (s.row("heads.2.loss") * counted[0] + s.row("heads.3.loss") * counted[1]) /
                          static_cast<double>(b.counted());
    };
    check_slopes(*model, *gradients[0], minimised, 11);
  }
}

TEST_CASE("multi_token: options that would do nothing are refused at their place") {
  const auto refused = [](const std::string& options) { return message_of<ConfigError>([&] { objective(options); }); };
  CHECK(refused("tokens: 1, form: sequential")
            .starts_with("test:1:1: error: objective.form does nothing with tokens: 1"));
  CHECK(has(refused("tokens: 1, weight: 0.5"), "objective.weight does nothing with tokens: 1"));
  CHECK(has(refused("tokens: 3, weight: 0"), "objective.weight: 0 lets the heads of further tokens learn nothing"));
  CHECK(refused("tokens: 1, form: parallel").empty());  // as resolved files have it
}
