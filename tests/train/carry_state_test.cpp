#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <cstring>

#include "autodiff/interrupt.h"
#include "base/random.h"
#include "optim/adamw.h"
#include "store/temp_folder.h"
#include "support/models.h"
#include "support/named.h"
#include "support/tensors.h"
#include "train/trainer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 13, kRows = 4, kTokens = 6, kSteps = 5;
constexpr std::string_view kModel =
    "{d_model: 8, init: {std: 0.4}, block: {ffn: {type: mlp}}, layers: [{mixer: {type: attention, heads: 2, window: 9, "
    "sinks: 1}}, {id: a, mixer: {type: gla, heads: 2, gate_rank: 3, conv: 3}}, {mixer: {type: min_gru, conv: 3}, ffn: "
    "none}, {mixer: {type: retnet, heads: 2}, ffn: {type: rwkv_channel_mix, expand: 2}}, {use: a}]}";

// Rows of kSteps * kTokens + 1 tokens, cut into batches that continue each other.
struct Streams {
  std::vector<int32_t> tokens;
  Streams() {
    const RandomStream numbers(3, "streams");
    for (uint64_t i = 0; i < kRows * (kSteps * kTokens + 1); ++i)
      tokens.push_back(static_cast<int32_t>(numbers.below(i, kVocab)));
  }
  Batch at(int64_t from, int64_t n) const {
    Batch b{.batch = kRows, .tokens = n, .inputs = {}, .targets = {}, .segments = {}};
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t t = from; t < from + n; ++t) {
        const auto i = static_cast<size_t>(r * (kSteps * kTokens + 1) + t);
        b.inputs.push_back(tokens[i]);
        b.targets.push_back(tokens[i + 1]);
      }
    return b;
  }
  Batch step(int64_t s) const { return at(s * kTokens, kTokens); }
};

OptimOptions still() {
  OptimOptions o;
  o.lr = 0, o.weight_decay = 0;
  return o;
}

struct Rig {
  std::unique_ptr<LanguageModel> model = build_model(kModel, kVocab, kTokens);
  AdamW optimizer{still(), {}, model->params()};
  Trainer trainer;
  explicit Rig(int64_t lanes = 2, bool carry = true)
      : trainer(*model, next_token(), optimizer, plan_shards(kRows, kTokens, lanes, kTokens, 1000),
                {.seed = 1, .clip = 0, .carry_state = carry}) {}
  // A step that is left out, with f while a weight is infinite.
  void leave_out(
      const Batch& batch, bool continues, const std::function<void()>& f = [] {}) {
    const Tensor weight = model->params().find("layers.2.mixer.in.weight")->value;
    const double before = at(weight, 0, 0);
    put(weight, 0, 0, std::numeric_limits<double>::infinity());
    CHECK_FALSE(trainer.step(batch, 1, 1, continues).finite);
    f();
    put(weight, 0, 0, before);
  }
};

}  // namespace

TEST_CASE("carry_state: the losses of steps that continue each other are those of one long forward pass") {
  const Threads one(1);
  const Poison poison;
  const Streams streams;
  for (const int64_t lanes : {1, 2, 4}) {
    Rig rig(lanes);
    const Batch whole = streams.at(0, kSteps * kTokens);
    const Tensor logits = rig.model->logits(Tensor::view_of(std::span(whole.inputs), {kRows, kSteps * kTokens}), {});
    double forgetful = 0;
    for (int64_t s = 0; s < kSteps; ++s) {
      double want = 0;
      for (int64_t r = 0; r < kRows; ++r)
        for (int64_t t = s * kTokens; t < (s + 1) * kTokens; ++t) {
          const int64_t row = r * kSteps * kTokens + t;
          double most = -1e300, sum = 0;
          for (int64_t q = 0; q < kVocab; ++q) most = std::max(most, at(logits, row, q));
          for (int64_t q = 0; q < kVocab; ++q) sum += std::exp(at(logits, row, q) - most);
          want += most + std::log(sum) - at(logits, row, whole.targets[static_cast<size_t>(row)]);
        }
      CHECK(std::abs(rig.trainer.step(streams.step(s), s, 1).loss - want / (kRows * kTokens)) < 1e-10);
      forgetful = std::max(
          forgetful, std::abs(Rig(lanes, false).trainer.step(streams.step(s), s, 1).loss - want / (kRows * kTokens)));
    }
    CHECK(forgetful > 1e-3);
  }
}

TEST_CASE("carry_state: rows that don't go on start from nothing") {
  const Threads one(1);
  const Streams streams;
  Rig rig, fresh;
  const double first = fresh.trainer.step(streams.step(2), 0, 1).loss;
  rig.trainer.step(streams.step(0), 0, 1);
  CHECK(rig.trainer.step(streams.step(2), 1, 1).loss != first);
  CHECK(rig.trainer.step(streams.step(2), 2, 1, false).loss == first);
}

TEST_CASE("carry_state: a step that is given up at any op leaves everything as it was") {
  const Streams streams;
  for (const int threads : {1, 2})
    for (const bool continues : {true, false}) {
      const Threads some(threads);
      Rig rig(2), undisturbed(2);
      for (Rig* r : {&rig, &undisturbed}) r->trainer.step(streams.step(0), 0, 1);
      const std::vector<NamedTensor> carried = undisturbed.trainer.carried(), mine = rig.trainer.carried();
      int given_up = 0;
      for (int op = 0;; op += 7) {
        std::atomic<int> asked = 0;
        try {
          const Interrupt interrupt([&] { return asked++ >= op; });
          rig.trainer.step(streams.step(1), 1, 1, continues);
          break;
        } catch (const Interrupted&) {
          ++given_up;
        }
        for (size_t i = 0; i < mine.size(); ++i)
          CHECK_MESSAGE(std::memcmp(mine[i].value.raw(), carried[i].value.raw(), mine[i].value.bytes()) == 0,
                        mine[i].name);
        CHECK(rig.optimizer.steps() == 1);
      }
      CHECK(given_up > 20);
      undisturbed.trainer.step(streams.step(1), 1, 1, continues);
      CHECK(rig.trainer.step(streams.step(2), 2, 1).loss == undisturbed.trainer.step(streams.step(2), 2, 1).loss);
    }
}

TEST_CASE("carry_state: what is carried has names, and put back it continues the same way") {
  const Threads one(1);
  const Streams streams;
  Rig rig, other;
  rig.trainer.step(streams.step(0), 0, 1);
  const auto from = rig.trainer.carried(), to = other.trainer.carried();
  std::string names;
  REQUIRE(from.size() == to.size());
  for (size_t i = 0; i < from.size(); ++i) {
    names += from[i].name + " ";
    CHECK(from[i].name == to[i].name);
    copy(from[i].value, to[i].value);
  }
  CHECK(names.find(
            "state.seen state.layers.0.seen state.layers.0.mixer.k state.layers.0.mixer.v state.layers.1.seen") == 0);
  CHECK(names.find("state.layers.3.seen state.layers.3.mixer.s state.layers.3.ffn.shift") != names.npos);
  CHECK(names.find("state.layers.4.mixer.s state.layers.4.mixer.conv") != names.npos);
  CHECK(rig.trainer.step(streams.step(1), 1, 1).loss == other.trainer.step(streams.step(1), 1, 1).loss);
}

TEST_CASE("carry_state: a step that is left out, and the search for its fault, leave no marks in the states") {
  const Threads one(1);
  const Streams streams;
  Rig rig, undisturbed;
  for (Rig* r : {&rig, &undisturbed}) r->trainer.step(streams.step(0), 0, 1);
  rig.leave_out(streams.step(1), true,
                [&] { CHECK_THROWS_AS(rig.trainer.find_nonfinite(streams.step(1), 1), NumericalError); });
  const StepResult a = rig.trainer.step(streams.step(2), 2, 1), b = undisturbed.trainer.step(streams.step(2), 2, 1);
  CHECK(a.finite);
  CHECK(a.loss == b.loss);
}

TEST_CASE("carry_state: rows that start from nothing in a step that is left out start from nothing in the next") {
  const Threads one(1);
  const Streams streams;
  Rig rig, fresh;
  rig.trainer.step(streams.step(0), 0, 1);
  rig.leave_out(streams.step(1), false);
  CHECK(rig.trainer.step(streams.step(2), 2, 1).loss == fresh.trainer.step(streams.step(2), 2, 1).loss);
}

TEST_CASE("carry_state: states that grow with every token are refused together, each by its place") {
  const auto model = build_model(
      "{d_model: 8, layers: [{mixer: {type: attention, heads: 2}}, {mixer: min_gru}, {mixer: {type: mla, heads: 2}}]}",
      kVocab);
  const std::string error = message_of<ConfigError>([&] { require_carriable(*model); });
  CAPTURE(error);
  CHECK(error.find("`layers.0.mixer.k` grows with every token") != error.npos);
  CHECK(error.find("`layers.2.mixer.") != error.npos);
  CHECK(error.find("layers.1.") == error.npos);
}
