// Masked language modelling against a transcription of BERT's choice, and what a pseudo-likelihood is.
#include <cmath>

#include "eval/evaluator.h"
#include "objectives/objective_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

std::unique_ptr<Objective> objective(const std::string& own = "") {
  return read_objective("{type: masked_lm" + own + "}");
}

}  // namespace

TEST_CASE("masked_lm: training and evaluation hide the tokens of the transcription, with its weights") {
  CHECK(golden_files("masked_lm", [](const SafetensorsFile& file) {
          const auto o = read_objective(file.metadata().at("options"));
          const auto model = build_model_for(*o, kMixing, 7);
          check_hidden(*o, *model, file,
                       [&](const Tensor& seen, const Tensor& ids) { return nats_by(model->logits(seen, {}), ids); });
        }) == 4);
}

TEST_CASE("masked_lm: the loss is the mean over predicted tokens, of any number of those that count") {
  const Threads one(1);
  const auto o = objective(", rate: 1, mask_share: 1, random_share: 0");
  const auto model = build_model_for(*o, kMixing, 5);
  const Tensor ids = random_ids(2, 8, 5, 1);
  const Tensor masks = Tensor::full({2, 8}, DType::i32, 5);
  double all = 0;
  for (const double n : nats_by(model->logits(masks, {}), ids)) all += n;
  CHECK(at(o->loss(*model, {ids, ids, {}}, 1, {}, nullptr), 0, 0) == doctest::Approx(all).epsilon(1e-12));
  // One of two tokens that count is predicted, as if there were two of it.
  const Tensor targets = Tensor::full({1, 8}, DType::i32, kIgnoredTarget);
  for (const int64_t i : {2, 5}) targets.data<int32_t>()[i] = ids.data<int32_t>()[i];
  const auto half = objective(", rate: 0.5, mask_share: 1, random_share: 0");
  const Tensor row = ids.row_range(0, {1, 8});
  const double loss = at(half->loss(*model, {row, targets, {}}, 1, {}, nullptr), 0, 0);
  int same = 0;
  for (const int64_t i : {2, 5}) {
    const Tensor seen = row.clone();
    seen.data<int32_t>()[i] = 5;
    const double n = nats_by(model->logits(seen, {}), row)[static_cast<size_t>(i)];
    same += std::abs(loss - 2 * n) < 1e-10;
  }
  CHECK(same == 1);
}

TEST_CASE("masked_lm: the score is the bound of all orders, and the pseudo-likelihood is asked for by name") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 3);
  double estimate = 0, bound = 0, variance = 0, pseudo_sum = 0;
  for (int64_t number = 0; number < 81; number += 4) {
    const Ids text = text_of(number, 4, 3);
    const Tensor ids = ids_of(text, 1);
    const Conditionals known(*model, text);
    double pseudo = 0;
    for (size_t i = 0; i < 4; ++i) pseudo += known(15 - (size_t{1} << i), i);
    CHECK(o->score(*model, {ids, ids, {}}, {.each_alone = true})[0].nats == doctest::Approx(pseudo).epsilon(1e-12));
    CHECK(o->score(*model, {ids, ids, {}}, {.left_to_right = true})[0].nats ==
          doctest::Approx(known.orders().front()).epsilon(1e-12));
    const RowScore r = o->score(*model, {ids, ids, {}}, {.first = number, .samples = 64})[0];
    CHECK(known.bound() > -std::log(likelihood(known)));
    estimate += r.nats, variance += r.variance, bound += known.bound(), pseudo_sum += pseudo;
  }
  CHECK(std::abs(estimate - bound) < 3 * std::sqrt(variance));
  CHECK(std::abs(pseudo_sum - bound) > 10 * std::sqrt(variance));
}

TEST_CASE("masked_lm: gradients by differences, noise by the sample, and a batch is learnt") {
  const Threads one(1);
  const auto o = objective();
  const auto model = build_model_for(*o, kMixing, 5);
  const Tensor ids = random_ids(3, 7, 5, 1);
  Context cx;
  cx.phase = Phase::train;
  const auto some = objective(", rate: 0.6, mask_share: 0.5, random_share: 0.3");
  CHECK(check_gradient(*model, [&] { return some->loss(*model, {ids, ids, {}}, 1.0 / 21, cx, nullptr); }) > 1e-3);
  check_noise(*o, *model, 5);
  check_learns(*o);
}

TEST_CASE("masked_lm: its training loss has a title of its own, and shares beyond the whole are refused") {
  CHECK_FALSE(objective()->trains_score());
  CHECK(objective()->bound());
  CHECK_THROWS_AS(objective(", mask_share: 0.8, random_share: 0.3"), ConfigError);
}
