// Goldfish loss against a transcription of its mask, and what the mask is for.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "config/expect.h"
#include "eval/evaluator.h"
#include "support/golden.h"
#include "support/models.h"
#include "support/named.h"

using namespace effllm;
using effllm::testing::config_error;

namespace {

using Ids = std::vector<int32_t>;
using Places = std::vector<int64_t>;

std::unique_ptr<Objective> objective(const std::string& yaml) {
  return all_objectives.read(parse_config(yaml, "o.yaml")).build();
}

TokenizedText random_text(int64_t tokens, uint64_t vocab, uint64_t seed) {
  const RandomStream numbers(seed, "goldfish test");
  TokenizedText text;
  for (int64_t i = 0; i < tokens; ++i)
    text.tokens.push_back(static_cast<int32_t>(numbers.below(static_cast<uint64_t>(i), vocab)));
  text.document_starts = {0};
  text.bytes = tokens;
  return text;
}

Ids targets(const Objective& o, const Ids& text, int64_t begin, int64_t end, const Places* starts, bool training) {
  Batch b = batch_for(1, end - begin);
  o.cut({.text = text, .begin = begin, .end = end, .scored = begin, .document_starts = starts, .training = training},
        b);
  return b.targets;
}

// Indices from `begin` on of the targets that training leaves out.
Places dropped(const Objective& o, const Ids& text, int64_t begin, int64_t end, const Places* starts = nullptr) {
  const Ids all = targets(o, text, begin, end, starts, true);
  Places found;
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i] == kIgnoredTarget) found.push_back(static_cast<int64_t>(i));
  return found;
}

template <class T>
std::vector<T> values(const SafetensorsFile& file, const char* name) {
  const StoredTensor* t = file.find(name);
  if (!t) return {};
  std::vector<T> all(t->bytes / sizeof(T));
  std::memcpy(all.data(), t->data, t->bytes);
  return all;
}

}  // namespace

TEST_CASE("goldfish: targets are those of the transcription, and evaluation has all that next_token has") {
  test::for_each_golden("goldfish", "objective", [](const SafetensorsFile& file) {
    const auto o = objective(file.metadata().at("options"));
    const Ids text = values<int32_t>(file, "text"), want = values<int32_t>(file, "targets");
    const Places begins = values<int64_t>(file, "begins"), starts = values<int64_t>(file, "starts");
    const auto tokens = static_cast<int64_t>(want.size() / begins.size());
    Ids all;
    for (const int64_t begin : begins) {
      const Places* documents = starts.empty() ? nullptr : &starts;
      const Ids row = targets(*o, text, begin, begin + tokens, documents, true);
      all.insert(all.end(), row.begin(), row.end());
      CHECK(targets(*o, text, begin, begin + tokens, documents, false) ==
            targets(next_token(), text, begin, begin + tokens, documents, false));
    }
    CHECK(all == want);
  });
}

TEST_CASE("goldfish: about one target in k is left out of training's batches, others for another k or width") {
  const TokenizedText text = random_text(40001, 60, 1);
  std::vector<Places> all;
  for (const auto& [options, k] : {std::pair{"{type: goldfish, k: 2}", 2.0},
                                   {"{type: goldfish}", 4.0},
                                   {"{type: goldfish, context_width: 12}", 4.0},
                                   {"{type: goldfish, k: 32}", 32.0},
                                   {"{type: goldfish, mask: static}", 4.0}}) {
    CAPTURE(options);
    const auto o = objective(options);
    const auto order = build_order("shuffled_windows", text, {400, 100}, 1, false, *o);
    const double n = 40000, share = 1 - static_cast<double>(order->at(0).counted()) / n;
    CHECK(std::abs(share - 1 / k) < 4 * std::sqrt((1 / k) * (1 - 1 / k) / n));
    all.push_back(dropped(*o, text.tokens, 0, 40000));
  }
  std::ranges::sort(all);
  CHECK(std::ranges::adjacent_find(all) == all.end());
}

TEST_CASE("goldfish: a passage loses the same tokens wherever it stands, h tokens after its start") {
  constexpr int64_t kPassage = 300, kWidth = 7, kRest = kPassage - kWidth;
  const Ids passage = random_text(kPassage, 20, 2).tokens;
  Ids text = random_text(2000, 20, 3).tokens;
  const Places places = {0, 401, 1303};
  for (const int64_t p : places) std::ranges::copy(passage, text.begin() + p);
  const auto o = objective("{type: goldfish, k: 3, context_width: 7}");
  // The first target is the first token with seven of the passage before it.
  const Places want = dropped(*o, passage, kWidth - 1, kPassage - 1);
  CHECK(want.size() > 60);
  for (const int64_t p : places) {
    CHECK(dropped(*o, text, p + kWidth - 1, p + kPassage - 1) == want);
    // Cut into rows of other lengths, which begin inside it.
    for (const int64_t row : {1, 5, 64}) {
      Places all;
      for (int64_t i = 0; i < kRest; i += row)
        for (const int64_t d : dropped(*o, text, p + kWidth - 1 + i, p + kWidth - 1 + std::min(i + row, kRest)))
          all.push_back(i + d);
      CHECK(all == want);
    }
  }
  // What is before a document does not enter, where documents are told apart.
  CHECK(dropped(*o, text, 401, 401 + kPassage - 1) != dropped(*o, text, 1303, 1303 + kPassage - 1));
  CHECK(dropped(*o, text, 401, 401 + kPassage - 1, &places) == dropped(*o, passage, 0, kPassage - 1));
  CHECK(dropped(*o, text, 1303, 1303 + kPassage - 1, &places) == dropped(*o, passage, 0, kPassage - 1));
  // The static mask goes by the row alone.
  const auto by_row = objective("{type: goldfish, k: 3, mask: static}");
  CHECK(dropped(*by_row, text, 500, 507) == Places{0, 3, 6});
  CHECK(dropped(*by_row, text, 501, 508) == Places{0, 3, 6});
}

TEST_CASE("goldfish: a model is compared by all targets, and learns from those that are kept") {
  const test::Threads one(1);
  const TokenizedText text = random_text(200, 11, 4);
  const auto model = test::build_model("{d_model: 8, layers: [{mixer: min_gru}]}", 11, 16);
  const auto tokenizer = build_tokenizer("char", "abcdefghijk");
  const auto o = objective("{type: goldfish, k: 2, context_width: 1}");
  for (const ProtocolInfo* p : all_protocols) {
    const EvalOptions asked{.protocol = Choice(all_protocols, p->name), .tokens = 16};
    const EvalResult plain = evaluate(*model, next_token(), text, *tokenizer, asked),
                     own = evaluate(*model, *o, text, *tokenizer, asked);
    CHECK(own.tokens == plain.tokens);
    CHECK(own.nats == plain.nats);
  }
  const auto rows = [&](const Objective& from) { return build_order("streams", text, {2, 40}, 1, false, from)->at(0); };
  const Batch all = rows(next_token()), some = rows(*o);
  REQUIRE(some.counted() < all.counted());
  double kept = 0;
  const Tensor logits = model->logits(all.rows(0, 2).inputs, {});
  for (int64_t i = 0; i < 80; ++i)
    if (some.targets[static_cast<size_t>(i)] != kIgnoredTarget) {
      double z = 0;
      for (int64_t q = 0; q < 11; ++q) z += std::exp(test::at(logits, i, q));
      kept += std::log(z) - test::at(logits, i, all.targets[static_cast<size_t>(i)]);
    }
  CHECK(*o->loss(*model, some.rows(0, 2), 1, {}, nullptr).data<double>() == doctest::Approx(kept).epsilon(1e-12));
}

TEST_CASE("goldfish: what its options can't be is told at the key") {
  const auto error = [](const std::string& own) {
    return config_error([&] { objective("{type: goldfish, " + own + "}"); });
  };
  for (const char* k : {"k: 1", "k: 0", "k: -4"}) CHECK(has(error(k), "2 to 1073741824"));
  CHECK(has(error("k: 1"), "o.yaml:1:21"));
  CHECK(has(error("k: 2.5"), "integer"));
  CHECK(has(error("context_width: 0"), "1 to 1073741824"));
  CHECK(has(error("mask: hash"), "hashed, static"));
  CHECK(has(error("mask: static, context_width: 4"), "context_width belongs to mask: hashed"));
  CHECK(has(error("z_loss: 1e-4"), "z_loss"));
}
