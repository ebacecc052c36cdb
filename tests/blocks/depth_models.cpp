#include "blocks/depth_models.h"

#include <doctest/doctest.h>

#include <cmath>

#include "support/models.h"
#include "support/tensors.h"

namespace effllm::test {
namespace {

constexpr int64_t kVocab = 13, kTokens = 9;

Tensor part(const Tensor& ids, int64_t from, int64_t to) {
  const Tensor some = Tensor::dense({ids.dim(0), to - from}, DType::i32);
  for (int64_t b = 0; b < ids.dim(0); ++b)
    std::copy_n(ids.view<int32_t>().row(b) + from, to - from, some.view<int32_t>().row(b));
  return some;
}

void shake(const LanguageModel& model) {
  for (Parameter* p : model.params().sorted()) {
    const Tensor noise = random(p->shape, fnv1a(p->name), DType::f64, 0.3);
    for (int64_t r = 0; r < p->value.rows(); ++r)
      for (int64_t c = 0; c < p->value.cols(); ++c) put(p->value, r, c, at(p->value, r, c) + at(noise, r, c));
  }
}

void check_forms(const LanguageModel& model, const Tensor& ids) {
  const Tensor whole = model.logits(ids, {});
  for (const int64_t cut : {1, 4, 8}) {
    State s = model.make_state(2, kTokens);
    CHECK(max_diff(model.logits(part(ids, 0, cut), {}, &s), tokens(whole, 0, cut)) < 1e-11);
    CHECK(max_diff(model.logits(part(ids, cut, kTokens), {}, &s), tokens(whole, cut, kTokens)) < 1e-11);
  }
  State s = model.make_state(2, kTokens);
  for (int64_t t = 0; t < kTokens; ++t)
    CHECK(max_diff(model.logits(part(ids, t, t + 1), {}, &s), tokens(whole, t, t + 1)) < 1e-11);
  const Tensor other = part(ids, 0, kTokens);
  for (int64_t b = 0; b < 2; ++b)
    other.view<int32_t>().row(b)[5] = (other.view<int32_t>().row(b)[5] + 1) % static_cast<int32_t>(kVocab);
  const Tensor changed = model.logits(other, {});
  CHECK(same_bits(tokens(changed, 0, 5), tokens(whole, 0, 5)));
  CHECK(max_diff(tokens(changed, 5, kTokens), tokens(whole, 5, kTokens)) > 1e-6);
}

void check_gradients(const LanguageModel& model, const Tensor& ids) {
  const Tensor targets = random_ids(2, kTokens, kVocab, 8);
  const auto loss = [&](bool recompute) {
    Context cx;
    cx.phase = Phase::train;
    cx.recompute = recompute;
    return model.loss(ids, targets, 0.1, cx);
  };
  const int64_t size = model.params().slab_elements();
  const Slab plain(size, DType::f64), again(size, DType::f64);
  const double first = loss_gradient(
      model, [&] { return loss(false); }, plain);
  CHECK(loss_gradient(
            model, [&] { return loss(true); }, again) == first);
  for (int64_t i = 0; i < size; ++i) REQUIRE(plain.data<double>()[i] == again.data<double>()[i]);
  double analytic = 0;
  std::vector<Tensor> directions;
  for (const Parameter* p : model.params().sorted()) {
    directions.push_back(random(p->shape, fnv1a(p->name) + 1));
    analytic += dot(model.params().view(plain, *p), directions.back());
  }
  const auto shifted = [&](double h) {
    for (size_t i = 0; i < directions.size(); ++i) {
      const Tensor& v = model.params().sorted()[i]->value;
      for (int64_t r = 0; r < v.rows(); ++r)
        for (int64_t c = 0; c < v.cols(); ++c) put(v, r, c, at(v, r, c) + h * at(directions[i], r, c));
    }
    return *loss(false).data<double>();
  };
  constexpr double kStep = 1e-5;
  const double up = shifted(kStep), down = shifted(-2 * kStep);
  shifted(kStep);
  CAPTURE(analytic);
  CHECK(std::abs(analytic - (up - down) / (2 * kStep)) < 1e-6 * std::max(1.0, std::abs(analytic)));
}

}  // namespace

void check_depth_model(const std::string& layers) {
  CAPTURE(layers);
  const auto model = build_model("{d_model: 8, layers: [" + layers + "]}", kVocab, kTokens);
  shake(*model);
  const Tensor ids = random_ids(2, kTokens, kVocab, 7);
  check_forms(*model, ids);
  check_gradients(*model, ids);
}

}  // namespace effllm::test
