// What routers add to the loss weighs what their options say: gradients of whole models against differences of the
// loss and of the weighted rows of the journal.
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <cmath>
#include <map>

#include "nn/ledger.h"
#include "ops/arithmetic.h"
#include "support/models.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kVocab = 7, kRows = 3, kTokens = 8;

std::unique_ptr<LanguageModel> model_of(const std::string& layer) {
  auto model = build_model("{d_model: 8, init: {std: 0.5}, layers: [{repeat: 2, of: [" + layer + "]}]}", kVocab, 16);
  for (const Parameter* p : model->params().sorted())
    if (p->name.find("router") != p->name.npos) copy(random(p->shape, fnv1a(p->name)), p->value);
  return model;
}

// weights: of the rows of the journal whose names end so; others are measured, and not minimised. `of`: parameters with
// this in their names, every third number.
void check_weights(const LanguageModel& model, const std::map<std::string, double>& weights, std::string_view of = "") {
  const Threads one(1);
  const Tensor ids = random_ids(kRows, kTokens, kVocab, 1), targets = random_ids(kRows, kTokens, kVocab, 2);
  std::map<std::string, int> found;
  const auto minimised = [&] {
    Ledger ledger(kRows * kTokens, kRows * kTokens);
    Context cx;
    cx.phase = Phase::train;
    cx.ledger = &ledger;
    const Tensor loss = model.loss(ids, targets, 1.0 / (kRows * kTokens), cx);
    double more = 0;
    for (const Measured& row : ledger.rows())
      for (const auto& [name, weight] : weights)
        if (row.name.ends_with("." + name)) {
          more += weight * row.value;
          ++found[name];
        }
    return add(loss, Tensor::full({1}, DType::f64, more));
  };
  const ParamStore& params = model.params();
  const Slab gradient(params.slab_elements(), DType::f64);
  loss_gradient(model, minimised, gradient);
  for (const Parameter* p : params.sorted())
    for (int64_t i = 0; p->name.find(of) != p->name.npos && i < p->shape.numel(); i += 3) {
      const int64_t row = i / p->shape.cols(), col = i % p->shape.cols();
      const double before = at(p->value, row, col);
      double slope = 0;
      for (const double sign : {1.0, -1.0}) {
        put(p->value, row, col, before + sign * 1e-6);
        slope += sign * at(minimised(), 0, 0) / 2e-6;
      }
      put(p->value, row, col, before);
      CHECK_MESSAGE(std::abs(at(params.view(gradient, *p), row, col) - slope) < 1e-7, p->name);
    }
  for (const auto& [name, weight] : weights) CHECK_MESSAGE(found[name] > 0, name);
}

void uneven(const LanguageModel& model, std::string_view buffer) {
  bool there = false;
  for (const ModelBuffer& b : model.params().buffers())
    if (b.name.ends_with(buffer)) {
      there = true;
      for (int64_t e = 0; e < b.value.numel(); ++e)
        put(b.value, 0, e, static_cast<double>(1 + e * e % 5) / 10 * (b.name.find("layers.1") == b.name.npos ? 1 : 2));
    }
  CHECK(there);
}

std::string moe(const std::string& options) {
  return "{mixer: {type: attention, heads: 2}, ffn: {type: moe, experts: 4, top_k: 2, expand: 1, " + options + "}}";
}

}  // namespace

TEST_CASE("router losses: balance weighs as one of the layers, or each layer by itself, whatever it is counted over") {
  for (const char* scope : {"layer_mean", "layer_sum", "pooled"})
    for (const char* score : {"softmax", "sigmoid"}) {
      const std::string options = fmt::format("balance: 0.7, balance_scope: {}, score: {}", scope, score);
      CAPTURE(options);
      const auto model = model_of(moe(options));
      uneven(*model, scope[0] == 'p' ? "statistics.moe.load" : "router.load");
      check_weights(*model, {{"balance", std::string_view(scope) == "layer_sum" ? 0.7 : 0.35}});
    }
  for (const char* over : {"shard", "sequence"})
    check_weights(*model_of(moe(fmt::format("balance: 0.7, balance_f: k, balance_tokens: {}", over))),
                  {{"balance", 0.35}});
}

TEST_CASE("router losses: z, entropy and relu's loss are divided by the layers too") {
  check_weights(*model_of(moe("balance: 0, router_z: 0.3")), {{"router_z", 0.15}});
  check_weights(*model_of(moe("balance: 0, router_z: 0.3, balance_scope: layer_sum")), {{"router_z", 0.3}});
  const auto entropy = model_of(moe("choose: top_p, top_p: 0.6, balance: 0.7, entropy: 0.4"));
  uneven(*entropy, "router.load");
  check_weights(*entropy, {{"balance", 0.35}, {"router_entropy", 0.2}});
  const auto relu = model_of(moe("choose: relu, topk_norm: false, balance: 0.7"));
  uneven(*relu, "router.load");
  for (const ModelBuffer& b : relu->params().buffers())
    if (b.name.ends_with("balance_weight")) fill(b.value, 0.9);  // as steps have moved it
  check_weights(*relu, {{"balance", 0.45}});
}

TEST_CASE("router losses: what teaches mod's causal choice weighs causal_weight in each layer") {
  const std::string inside = "mixer: {type: attention, heads: 2}, ffn: mlp}";
  const auto model = [&](std::string_view causal) {
    return model_of(
        fmt::format("{{type: mod, capacity: 0.5, weight: sigmoid, causal: {}, causal_weight: 0.6, {}", causal, inside));
  };
  check_weights(*model("aux"), {{"causal_loss", 0.6}});
  check_weights(*model("predictor"), {{"causal_loss", 0.6}}, "predictor.");  // whose input has no gradient
}

TEST_CASE("router losses: mor's weigh causal_weight where a step chooses, and balance by layers where tokens do") {
  const std::string inside = "mixer: {type: attention, heads: 2}, ffn: mlp}";
  check_weights(*model_of("{type: mor, recursions: 2, capacities: [1, 0.5], alpha: 0.7, causal_weight: 0.6, " + inside),
                {{"causal_loss", 0.6}});
  const auto token = model_of("{type: mor, recursions: 3, routing: token, balance: 0.8, " + inside);
  uneven(*token, "routers.load");
  check_weights(*token, {{"balance", 0.4}});
}
