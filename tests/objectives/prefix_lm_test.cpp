// Prefix language modelling: whose loss counts, how much, and that a prefix is seen in both directions.
#include <cmath>

#include "decode/generator.h"
#include "eval/evaluator.h"
#include "model/describe.h"
#include "objectives/objective_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

std::unique_ptr<Objective> objective(const std::string& own = "") {
  return read_objective("{type: prefix_lm" + own + "}");
}

Tensor prefixes(const std::vector<int64_t>& n) { return integers({static_cast<int64_t>(n.size())}, n); }

Tensor logits(const LanguageModel& model, const Tensor& ids, const std::vector<int64_t>& prefix,
              State* state = nullptr) {
  Context cx;
  cx.prefix = prefixes(prefix);
  return model.logits(ids, cx, state);
}

// A text of 12 tokens whose inputs and targets are [1, 11].
BatchRows row_of(const Tensor& text) {
  const Tensor inputs = Tensor::dense({1, 11}, DType::i32), targets = Tensor::dense({1, 11}, DType::i32);
  for (int64_t i = 0; i < 11; ++i) {
    inputs.data<int32_t>()[i] = text.data<int32_t>()[i];
    targets.data<int32_t>()[i] = text.data<int32_t>()[i + 1];
  }
  return {inputs, targets, {}};
}

// What the targets after a prefix of n cost.
double rest(const LanguageModel& model, const BatchRows& row, int64_t n) {
  const auto nats = nats_by(logits(model, row.inputs, {n}), row.targets);
  double sum = 0;
  for (size_t i = static_cast<size_t>(n - 1); i < nats.size(); ++i) sum += nats[i];
  return sum;
}

}  // namespace

TEST_CASE("prefix_lm: tokens of a prefix see each other, and those after it what is before them") {
  const Threads one(1);
  const auto model = build_model_for(*objective(), kMixing, 7);
  const Tensor ids = random_ids(2, 11, 7, 1);
  const Tensor before = logits(*model, ids, {6, 1});
  const auto changed = [&](int64_t row, int64_t place) {
    const Tensor other = ids.clone();
    int32_t& id = other.data<int32_t>()[row * 11 + place];
    id = (id + 1) % 7;
    const Tensor after = logits(*model, other, {6, 1});
    std::vector<int64_t> places;
    for (int64_t i = 0; i < 11; ++i)
      if (!same_bits(after.row_range(row * 11 + i, {1, 7}), before.row_range(row * 11 + i, {1, 7})))
        places.push_back(i);
    return places;
  };
  for (int64_t place = 0; place < 11; ++place) {
    CHECK(changed(0, place).front() == (place < 6 ? 0 : place));
    CHECK(changed(1, place).front() == place);
    CHECK(changed(0, place).back() == 10);
  }
}

TEST_CASE("prefix_lm: who sees whom, and what each target weighs, is as in the transcription") {
  const Threads one(1);
  CHECK(golden_files("prefix_lm", [](const SafetensorsFile& file) {
          const auto o = read_objective(file.metadata().at("options"));
          const int64_t prefix = number_in(file, "prefix");
          const Tensor text = ids_of(stored<int32_t>(file, "text"), 3);
          const int64_t tokens = text.dim(1) - 1;
          const Tensor inputs = Tensor::dense({3, tokens}, DType::i32), targets = inputs.clone();
          for (int64_t i = 0; i < inputs.numel(); ++i) {
            inputs.data<int32_t>()[i] = text.view<int32_t>().row(i / tokens)[i % tokens];
            targets.data<int32_t>()[i] = text.view<int32_t>().row(i / tokens)[i % tokens + 1];
          }
          // Of one layer, in which a token sees those that it sees.
          const auto model = build_model_for(
              *o,
              "{d_model: 8, init: {std: 0.7}, tie_embeddings: false, layers: [{mixer: {type: attention, heads: 2}}]}",
              7);
          Context cx;
          cx.prefix = prefixes(std::vector<int64_t>(3, prefix));
          const auto nats = nats_by(model->logits(inputs, cx), targets);
          const auto weights = stored<double>(file, "weights");
          double expected = 0;
          for (size_t i = 0; i < nats.size(); ++i) expected += nats[i] * weights[i % weights.size()];
          CHECK(at(o->loss(*model, {inputs, targets, {}}, 0.5, {}, nullptr), 0, 0) ==
                doctest::Approx(0.5 * expected).epsilon(1e-12));
          const auto documents = stored<int64_t>(file, "segments");
          for (const char* which : {"sees", "sees_documents"}) {
            CAPTURE(which);
            const auto sees = stored<int32_t>(file, which);
            if (std::string_view(which) == "sees_documents") {
              cx.segments = Tensor::dense({3, tokens}, DType::i64);
              for (int64_t b = 0; b < 3; ++b) std::ranges::copy(documents, cx.segments.view<int64_t>().row(b));
            }
            const Tensor before = model->logits(inputs, cx);
            for (int64_t key = 0; key < tokens; ++key) {
              const Tensor other = inputs.clone();
              int32_t& id = other.data<int32_t>()[key];
              id = (id + 1) % 7;
              const Tensor after = model->logits(other, cx);
              for (int64_t query = 0; query < tokens; ++query)
                CHECK(same_bits(after.row_range(query, {1, 7}), before.row_range(query, {1, 7})) ==
                      (sees[static_cast<size_t>(query * tokens + key)] == 0));
            }
          }
        }) == 4);
}

TEST_CASE("prefix_lm: the mean of the loss is that of what is left, over prefixes of every length alike") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 7);
  const BatchRows row = row_of(random_ids(1, 12, 7, 2));
  double expected = 0;
  for (int64_t n = 1; n <= 11; ++n) expected += rest(*model, row, n) / 11 * 22 / 12;
  Context cx;
  for (const int64_t place : {0, 7}) {  // whichever of eight rows it is
    BatchRows one_of = row;
    one_of.first = place, one_of.of = 8;
    double sum = 0, squares = 0;
    constexpr int kSteps = 1500;
    for (cx.step = 0; cx.step < kSteps; ++cx.step) {
      const double x = at(o->loss(*model, one_of, 1, cx, nullptr), 0, 0);
      sum += x;
      squares += x * x;
    }
    const double m = sum / kSteps, error = std::sqrt((squares / kSteps - m * m) / kSteps);
    CHECK(std::abs(m - expected) < 3 * error);
    CHECK(error < 0.03 * m);
  }
  // A fixed share: of 11 tokens 4, and 8 targets are left.
  const auto fixed = objective(", prefix: 0.37");
  CHECK(at(fixed->loss(*model, row, 0.5, cx, nullptr), 0, 0) ==
        doctest::Approx(0.5 * rest(*model, row, 4) * 11 / 8).epsilon(1e-12));
  CHECK(at(objective(", prefix: 0")->loss(*model, row, 1, cx, nullptr), 0, 0) ==
        doctest::Approx(at(next_token().loss(*model, row, 1, cx, nullptr), 0, 0)).epsilon(1e-12));
  CHECK(at(objective(", prefix: 1")->loss(*model, row, 1, cx, nullptr), 0, 0) ==
        doctest::Approx(11 * rest(*model, row, 11)).epsilon(1e-12));
}

TEST_CASE("prefix_lm: training costs what is seen, in the mean over prefixes or of the share that is set") {
  const auto config = [](const std::string& o, int64_t context) {
    ModelConfig c = read_model_config(
        parse_config("{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}", "m.yaml"), context);
    tell(*read_objective(o), c);
    return c;
  };
  // Of long rows attention decides.
  const auto growth = [&](const std::string& o) {
    const auto flops = [&](int64_t n) { return train_flops_per_token(*model_on_shapes(config(o, n), 16), n); };
    return flops(4096) - flops(2048);
  };
  const double causal = growth("next_token");
  CHECK(growth("prefix_lm") == doctest::Approx(causal * 4 / 3).epsilon(0.01));
  CHECK(growth("{type: prefix_lm, prefix: 0.5}") == doctest::Approx(causal * 5 / 4).epsilon(0.01));
  CHECK(growth("{type: prefix_lm, prefix: 1}") == doctest::Approx(causal * 2).epsilon(0.01));
  CHECK(growth("{type: prefix_lm, prefix: 0}") == causal);
  // A prompt sees all of itself.
  const auto prompt = [&](const std::string& o) {
    return count_cost(config(o, 4096), 16, 4096).total.prefill_flops -
           count_cost(config(o, 2048), 16, 2048).total.prefill_flops;
  };
  CHECK(prompt("prefix_lm") == doctest::Approx(2 * prompt("next_token")).epsilon(0.01));
}

TEST_CASE("prefix_lm: with training's choice of tokens an evaluation drops what is beyond a capacity") {
  const Threads one(1);
  const auto o = objective();
  const auto model =
      build_model_for(*o,
                      "{d_model: 8, init: {std: 0.7}, layers: [{mixer: {type: attention, heads: 2}, ffn: "
                      "{type: moe, experts: 4, top_k: 1, topk_norm: false, capacity: 1}}]}",
                      7);
  REQUIRE(model->trains_otherwise());
  const BatchRows row = row_of(random_ids(1, 12, 7, 2));
  const auto nats = [&](bool choice) { return o->score(*model, row, {.training_choice = choice})[0].nats; };
  CHECK(nats(true) != nats(false));
}

TEST_CASE("prefix_lm: evaluation takes for a prefix what is context alone, and is causal where nothing is") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 6);
  const auto tokenizer = build_tokenizer("char", "abcdef");
  TokenizedText text;
  const Tensor ids = random_ids(1, 13, 6, 4);
  for (int64_t i = 0; i < 13; ++i) text.tokens.push_back(ids.data<int32_t>()[i]);
  text.document_starts = {0};
  text.bytes = 13;
  const auto run = [&](const Objective& how, const char* name, std::optional<int64_t> stride) {
    return evaluate(*model, how, text, *tokenizer, {.protocol = protocol(name, stride), .tokens = 6});
  };
  const EvalResult windows = run(*o, "windows", {}), sliding = run(*o, "sliding", 3);
  CHECK(windows.tokens == 12);
  CHECK(windows.nats == run(next_token(), "windows", {}).nats);
  CHECK_FALSE(windows.bound);
  CHECK(sliding.tokens == 12);
  CHECK(std::abs(sliding.nats - run(next_token(), "sliding", 3).nats) > 1e-6);
  // Its last window, of inputs 6 to 11, has 3 that were scored before.
  const Tensor inputs = Tensor::dense({1, 6}, DType::i32), targets = Tensor::dense({1, 6}, DType::i32);
  for (int64_t i = 0; i < 6; ++i) {
    inputs.data<int32_t>()[i] = text.tokens[static_cast<size_t>(6 + i)];
    targets.data<int32_t>()[i] = i < 3 ? kIgnoredTarget : text.tokens[static_cast<size_t>(7 + i)];
  }
  const Tensor seen = logits(*model, inputs, {4});
  double expected = 0;
  for (int64_t i = 3; i < 6; ++i)
    expected += nats_by(seen.row_range(i, {1, 6}), ids_of({targets.data<int32_t>()[i]}, 1))[0];
  CHECK(o->score(*model, {inputs, targets, {}}, {})[0].nats == doctest::Approx(expected).epsilon(1e-12));
  CHECK_THROWS_WITH_AS(run(*o, "carried", {}), doctest::Contains("carries no state"), ConfigError);
}

TEST_CASE("prefix_lm: a prompt is read at once, and a text goes on from it as in one row") {
  const Threads one(1);
  const auto model = build_model_for(*objective(), kMixing, 6);
  const auto tokenizer = build_tokenizer("char", "abcdef");
  const std::string prompt = "fbdaec";
  Ids text = tokenizer->encode(prompt);
  for (int i = 0; i < 9; ++i) {  // the likeliest token after a row whose prefix is the prompt
    const Tensor all = logits(*model, ids_of(text, 1), {6});
    int32_t top = 0;
    for (int32_t q = 1; q < 6; ++q)
      if (at(all, all.rows() - 1, q) > at(all, all.rows() - 1, top)) top = q;
    text.push_back(top);
  }
  const Ids fresh(text.begin() + 6, text.end());
  CHECK(generate(*model, *tokenizer, prompt, {.tokens = 9, .sampler = {.temperature = 0}})[0] ==
        tokenizer->decode(fresh));
  const ContextLimit limit = context_limit(*model, 32);
  CHECK(limit.anew);
  CHECK(limit.tokens == 32);
  CHECK_FALSE(context_limit(*model, 32, 0).anew);
}

TEST_CASE("prefix_lm: gradients by differences, noise by the sample, and a batch is learnt") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 5);
  const BatchRows row = row_of(random_ids(1, 12, 5, 1));
  Context cx;
  cx.phase = Phase::train;
  check_gradient(*model, [&] { return o->loss(*model, row, 1.0 / 11, cx, nullptr); });
  check_noise(*o, *model, 5);
  check_learns(*o);
}
