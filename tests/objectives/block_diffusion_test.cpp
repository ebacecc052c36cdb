// Block diffusion against a transcription of its masks, against blocks behind a state, and against likelihoods that can
// be enumerated.
#include <cmath>

#include "config/expect.h"
#include "eval/evaluator.h"
#include "model/describe.h"
#include "objectives/block_streams.h"
#include "train/run_config.h"

using namespace effllm;
using namespace effllm::test;

namespace {

std::unique_ptr<Objective> objective(int64_t block, const std::string& own = "") {
  return read_objective("{type: block_diffusion, block: " + std::to_string(block) + own + "}");
}

double loss(const Objective& o, const LanguageModel& model, const Tensor& ids, const Context& cx = {}) {
  return at(o.loss(model, {ids, ids, {}}, 1, cx, nullptr), 0, 0);
}

// -log p of the second block of two, in either order of its two tokens, or of both, given the first; that of the first.
struct Orders {
  double first, second;
};
Orders orders(const LanguageModel& model, const Ids& text, int64_t block) {
  const auto mask = static_cast<int32_t>(model.vocab());
  const auto cost = [&](bool left_seen, bool right_seen, int64_t which) {
    Ids seen = text;
    const auto from = static_cast<size_t>(2 * block);
    if (!left_seen) seen[from] = mask;
    if (!right_seen) seen[from + 1] = mask;
    const Tensor ids = ids_of(text, 1);
    return nats_by(by_blocks(model, ids, ids_of(seen, 1)), ids)[from + static_cast<size_t>(which)];
  };
  return {cost(false, false, 0) + cost(true, false, 1), cost(false, false, 1) + cost(false, true, 0)};
}

}  // namespace

TEST_CASE("block_diffusion: training and evaluation hide the tokens of the transcription, and see what it says") {
  CHECK(golden_files("block_diffusion", [](const SafetensorsFile& file) {
          const auto o = read_objective(file.metadata().at("options"));
          const auto model = build_model_for(*o, kMixing, 7);
          check_hidden(*o, *model, file, [&](const Tensor& seen, const Tensor& ids) {
            return nats_by(by_blocks(*model, ids, seen), ids);
          });
        }) == 5);
}

TEST_CASE("block_diffusion: one pass over both streams gives what blocks behind a state give") {
  const Threads one(1);
  for (const char* mixer :
       {"{type: attention, heads: 2}", "{type: attention, heads: 4, kv_heads: 2, position: alibi}",
        "{type: attention, heads: 2, window: 5, qk_norm: true}", "{type: attention, heads: 2, value_residual: 0.5}",
        "{type: mla, heads: 2}", "{type: parallel, branches: [{type: attention, heads: 2}, {type: mla, heads: 2}]}"})
    for (const int64_t block : {1, 3, 4, 20}) {
      CAPTURE(mixer);
      CAPTURE(block);
      const std::string yaml = std::string(
                                   "{d_model: 8, init: {std: 0.7}, positions: learned, max_tokens: 64, block: "
                                   "{ffn: swiglu}, layers: [{mixer: ") +
                               mixer + "}, {mixer: " + mixer + "}]}";
      const auto model = build_model_for(*objective(block), yaml, 7);
      const Tensor clean = random_ids(2, 11, 7, 1), seen = random_ids(2, 11, 8, 2);
      const Tensor pass = in_one_pass(*model, clean, seen);
      CHECK(max_diff(pass, by_blocks(*model, clean, seen)) < 1e-11);
      // Another clean token is seen by the noisy ones of later blocks alone.
      const Tensor other = clean.clone();
      int32_t& id = other.data<int32_t>()[4];
      id = (id + 1) % 7;
      const Tensor after = in_one_pass(*model, other, seen);
      const int64_t end = (4 / block + 1) * block;
      for (int64_t i = 0; i < 11; ++i)
        CHECK(same_bits(after.row_range(i, {1, 7}), pass.row_range(i, {1, 7})) == (i < end));
    }
}

TEST_CASE(
    "block_diffusion: the bound is above -log p of every text, whose p sum to 1, and what is estimated is its mean") {
  const Threads one(1);
  const auto o = objective(2);
  const auto model = build_model_for(*o, kMixing, 3);
  double total = 0, least = 1, bound_sum = 0, estimate = 0, variance = 0;
  for (int64_t number = 0; number < 81; ++number) {
    const Ids text = text_of(number, 4, 3);
    double p = 1, bound = 0, forward = 0;
    for (const int64_t block : {0, 1}) {
      const Orders n = orders(*model, text, block);
      p *= (std::exp(-n.first) + std::exp(-n.second)) / 2;
      bound += (n.first + n.second) / 2;
      forward += n.first;
    }
    total += p;
    least = std::min(least, bound + std::log(p));
    const Tensor ids = ids_of(text, 1);
    CHECK(o->score(*model, {ids, ids, {}}, {.left_to_right = true})[0].nats == doctest::Approx(forward).epsilon(1e-12));
    const RowScore r = o->score(*model, {ids, ids, {}}, {.first = number, .samples = 64, .seed = 9})[0];
    bound_sum += bound, estimate += r.nats, variance += r.variance;
  }
  CHECK(total == doctest::Approx(1).epsilon(1e-12));
  CHECK(least > 1e-4);
  CHECK(std::abs(estimate - bound_sum) < 3 * std::sqrt(variance));
  CHECK(std::sqrt(variance) < 0.02 * bound_sum);

  const Tensor ids = ids_of({2, 0, 1, 1, 2, 0, 1, 1, 2, 0, 1, 1, 2, 0, 1, 1}, 4);  // times spread over four rows
  double bound = 0, sum = 0, squares = 0;
  for (const int64_t block : {0, 1})
    bound += mean({orders(*model, {2, 0, 1, 1}, block).first, orders(*model, {2, 0, 1, 1}, block).second});
  Context cx;
  constexpr int kSteps = 4000;
  for (cx.step = 0; cx.step < kSteps; ++cx.step) {
    const double x = loss(*o, *model, ids, cx) / 4;
    sum += x, squares += x * x;
  }
  const double m = sum / kSteps, error = std::sqrt((squares / kSteps - m * m) / kSteps);
  CHECK(std::abs(m - bound) < 3 * error);
  CHECK(error < 0.03 * m);
}

TEST_CASE("block_diffusion: of a batch of one row, too, the mean of each block's loss is its bound") {
  const Threads one(1);
  const auto o = objective(2);
  const auto model = build_model_for(*o, kMixing, 3);
  const Ids text = {2, 0, 1, 1};
  for (const int64_t block : {0, 1}) {
    const Orders n = orders(*model, text, block);
    const Tensor ids = ids_of(text, 1), targets = ids.clone();
    for (int64_t i = 0; i < 4; ++i)
      if (i / 2 != block) targets.data<int32_t>()[i] = kIgnoredTarget;
    Context cx;
    double sum = 0, squares = 0;
    constexpr int kSteps = 4000;
    for (cx.step = 0; cx.step < kSteps; ++cx.step) {
      const double x = at(o->loss(*model, {ids, targets, {}}, 1, cx, nullptr), 0, 0);
      sum += x, squares += x * x;
    }
    const double m = sum / kSteps, error = std::sqrt((squares / kSteps - m * m) / kSteps);
    CHECK(std::abs(m - (n.first + n.second) / 2) < 3 * error);
    CHECK(error < 0.05 * m);
  }
}

TEST_CASE("block_diffusion: blocks longer than a row, and a capacity of experts, are refused at their place") {
  const auto run = [](int64_t block) {
    const std::string yaml = "objective: {type: block_diffusion, block: " + std::to_string(block) +
                             "}\nmodel: {d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}\n"
                             "train: {context: 6, max_steps: 1}\n";
    return read_run_config(parse_config(yaml, "blocks.yaml"), "blocks.yaml");
  };
  CHECK(run(6).model.block == 6);
  CHECK_THROWS_WITH_AS(run(7), doctest::Contains("blocks.yaml:1:"), ConfigError);
  CHECK_THROWS_WITH_AS(run(7), doctest::Contains("objective.block is 7"), ConfigError);
  const auto experts = [](const std::string& o) {
    build_model_for(*read_objective(o),
                    "{d_model: 8, layers: [{mixer: {type: attention, heads: 2}, ffn: {type: moe, experts: 2, top_k: 1, "
                    "topk_norm: false, capacity: 1.25}}]}",
                    5);
  };
  CHECK_THROWS_WITH_AS(experts("{type: block_diffusion}"), doctest::Contains("capacity beside blocks"), ConfigError);
  experts("{type: prefix_lm}");
}

TEST_CASE("block_diffusion: of blocks of one token the loss is next_token's of each text before, ended by MASK") {
  const Threads one(1);
  const auto o = objective(1);
  CHECK_FALSE(o->bound());
  CHECK(o->trains_score());
  const auto model = build_model_for(*o, kMixing, 3);
  double total = 0;
  for (int64_t number = 0; number < 81; ++number) {
    const Ids text = text_of(number, 4, 3);
    double expected = 0;
    for (size_t i = 0; i < 4; ++i) {
      Ids inputs(text.begin(), text.begin() + static_cast<ptrdiff_t>(i)), targets(i, kIgnoredTarget);
      inputs.push_back(3);
      targets.push_back(text[i]);
      expected += at(next_token().loss(*model, {ids_of(inputs, 1), ids_of(targets, 1), {}}, 1, {}, nullptr), 0, 0);
    }
    const Tensor ids = ids_of(text, 1);
    CHECK(std::abs(loss(*o, *model, ids) - expected) < 1e-12 * expected);
    CHECK(std::abs(o->score(*model, {ids, ids, {}}, {})[0].nats - expected) < 1e-12 * expected);
    total += std::exp(-expected);
  }
  CHECK(total == doctest::Approx(1).epsilon(1e-12));
}

TEST_CASE("block_diffusion: a state that ends inside a block goes on nowhere, and noisy tokens have none") {
  for (const char* mixer : {"{type: attention, heads: 2}", "{type: mla, heads: 2}"}) {
    const auto model = build_model_for(*objective(4), std::string("{d_model: 8, layers: [{mixer: ") + mixer + "}]}", 5);
    State state = model->make_state(1, 16);
    const auto read = [&](int64_t tokens, const Context& cx = {}) {
      State own = state;
      model->body(random_ids(1, tokens, 5, 1), cx, &own);
      state = own;
    };
    Context noisy;
    noisy.noisy = true;
    CHECK_THROWS_WITH_AS(read(4, noisy), doctest::Contains("only the causal form"), ShapeError);
    read(8);
    read(3);
    CHECK_THROWS_WITH_AS(read(1), doctest::Contains("ends inside a block of 4"), ShapeError);
  }
}

TEST_CASE("block_diffusion: documents of a row are as each alone, where one begins with a block") {
  const Threads one(1);
  const auto o = objective(3);
  const auto model = build_model_for(*o, kMixing, 5);
  const Tensor ids = random_ids(1, 12, 5, 3), segments = Tensor::zeros({1, 12}, DType::i64);
  for (int64_t i = 6; i < 12; ++i) segments.data<int64_t>()[i] = 1;
  const auto half = [&](int64_t from) { return row_part(ids, 0, from, from + 6); };
  const auto score = [&](const BatchRows& rows) { return o->score(*model, rows, {.left_to_right = true})[0].nats; };
  const double both = score({half(0), half(0), {}}) + score({half(6), half(6), {}});
  CHECK(score({ids, ids, segments}) == doctest::Approx(both).epsilon(1e-12));
  CHECK(std::abs(score({ids, ids, {}}) - both) > 1e-6);
}

TEST_CASE("block_diffusion: gradients by differences, noise by the sample, and a batch is learnt") {
  const Threads one(1);
  const auto o = objective(3);
  const auto model = build_model_for(*o, kMixing, 5);
  const Tensor ids = random_ids(3, 7, 5, 1);
  Context cx;
  cx.phase = Phase::train;
  const auto f = [&] { return o->loss(*model, {ids, ids, {}}, 1.0 / 21, cx, nullptr); };
  CHECK(check_gradient(*model, f) > 1e-3);
  cx.recompute = true;  // backward runs blocks again
  CHECK(check_gradient(*model, f) > 1e-3);
  check_noise(*o, *model, 5);
  check_learns(*o);
}

TEST_CASE("block_diffusion: a narrower range of masks is no bound, and has less variance") {
  const Threads one(1);
  const auto model = build_model_for(*objective(4), kMixing, 5);
  const Tensor ids = random_ids(2, 8, 5, 1);
  const auto spread = [&](const Objective& o) {
    std::vector<double> all;
    Context cx;
    for (cx.step = 0; cx.step < 200; ++cx.step) all.push_back(loss(o, *model, ids, cx));
    double squares = 0;
    for (const double x : all) squares += (x - mean(all)) * (x - mean(all));
    return squares;
  };
  const auto narrow = objective(4, ", clip: [0.45, 0.95]");
  CHECK(objective(4)->trains_score());
  CHECK_FALSE(narrow->trains_score());
  CHECK(spread(*narrow) < spread(*objective(4)) / 2);
  for (const char* clip : {"[0.5]", "[0.8, 0.3]", "[0, 0]", "[0.1, 0.2, 0.3]", "[0.5, 1.5]"})
    CHECK_THROWS_AS(objective(4, std::string(", clip: ") + clip), ConfigError);
}

TEST_CASE("block_diffusion: what follows no blocks is refused by line, and so are sinks") {
  const auto refused = [](const std::string& objective, const std::string& layer) {
    ModelConfig c = read_model_config(parse_config("{d_model: 8, layers: [" + layer + "]}", "m.yaml"), 16);
    tell(*read_objective(objective), c);
    Diagnostics found;
    require_direction(c, "that", found);
    return !found.empty();
  };
  for (const char* objective : {"{type: block_diffusion}", "{type: prefix_lm}"}) {
    CHECK_FALSE(refused(objective, "{mixer: {type: attention, heads: 2}, ffn: mlp}"));
    CHECK_FALSE(refused(objective, "{mixer: {type: mla, heads: 2}, ffn: {type: moe, experts: 2, top_k: 1}}"));
    CHECK(refused(objective, "{mixer: min_gru}"));
    CHECK(refused(objective, "{mixer: {type: attention, heads: 2}, ffn: rwkv_channel_mix}"));
    CHECK(refused(objective, "{mixer: {type: parallel, branches: [{type: attention, heads: 2}, gla]}}"));
    CHECK(refused(objective, "{type: mod, mixer: {type: attention, heads: 2}}"));
    CHECK(refused(objective, "{mixer: {type: bidirectional, of: min_gru}}"));
  }
  CHECK_FALSE(refused("next_token", "{mixer: min_gru}"));
  CHECK_THROWS_WITH_AS(
      build_model_for(*objective(4),
                      "{d_model: 8, layers: [{mixer: {type: attention, heads: 2, window: 5, sinks: 1}}]}", 5),
      doctest::Contains("sinks beside blocks"), ConfigError);
}

TEST_CASE("block_diffusion: training costs what is seen, not all pairs of both streams") {
  const auto flops = [](const std::string& o, int64_t context) {
    ModelConfig c = read_model_config(
        parse_config("{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}]}", "m.yaml"), context);
    tell(*read_objective(o), c);
    return train_flops_per_token(*model_on_shapes(c, 16), context);
  };
  const std::string blocks = "{type: block_diffusion, block: 4}";
  // Of long rows attention decides: each stream sees half of the clean tokens.
  const double growth = flops(blocks, 4096) - flops(blocks, 2048);
  CHECK(growth == doctest::Approx(2 * (flops("next_token", 4096) - flops("next_token", 2048))).epsilon(0.01));
  CHECK(flops(blocks, 1024) < 2.05 * flops("next_token", 1024));
}

TEST_CASE("block_diffusion: what layers measure is a mean over tokens, of which each is there twice") {
  const Threads one(1);
  const auto o = objective(3);
  const auto model = build_model_for(*o,
                                     "{d_model: 8, layers: [{mixer: {type: attention, heads: 2}, ffn: {type: moe, "
                                     "experts: 2, top_k: 1, expand: 1, topk_norm: false}}]}",
                                     5);
  const Tensor ids = random_ids(3, 9, 5, 1);
  Ledger ledger(27, 27);
  Context cx;
  cx.phase = Phase::train;
  cx.ledger = &ledger;
  o->loss(*model, {ids, ids, {}}, 1, cx, nullptr);
  int found = 0;
  for (const Measured& m : ledger.rows())
    if (m.name == "layers.0.ffn.balance") {
      ++found;
      CHECK(m.value > 0.7);
      CHECK(m.value < 1.5);
    }
  CHECK(found == 1);
}
