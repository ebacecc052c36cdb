#include <doctest/doctest.h>

#include <cmath>

#include "model/language_model.h"
#include "support/models.h"
#include "support/tensors.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr std::string_view kModel =
    "{d_model: 64, positions: learned, tie_embeddings: false, INIT block: {norm: {type: layer_norm, bias: true}}, "
    "layers: [{mixer: {type: attention, bias: true, qk_norm: true}, ffn: {type: mlp, bias: true}}, {mixer: {type: gla, "
    "heads: 4, conv: 4}, ffn: {type: swiglu}}, {mixer: {type: min_gru, expand: 2, conv: 4}}]}";

std::string model_with(std::string_view init) {
  std::string yaml(kModel);
  return yaml.replace(yaml.find("INIT"), 4, init);
}

struct Moments {
  double mean = 0, deviation = 0;
};
Moments moments(const Tensor& t) {
  double sum = 0, squares = 0;
  for (int64_t r = 0; r < t.rows(); ++r)
    for (int64_t c = 0; c < t.cols(); ++c) sum += at(t, r, c), squares += at(t, r, c) * at(t, r, c);
  const auto n = static_cast<double>(t.numel());
  return {sum / n, std::sqrt(squares / n - sum / n * sum / n)};
}

bool ends(const std::string& name, std::string_view end) { return name.ends_with(end); }

}  // namespace

TEST_CASE("initialisation: init.std gives all hidden weights N(0, std), those into the stream less by sqrt(2 layers)") {
  for (const bool scaled : {true, false}) {
    const auto model = build_model(
        model_with(scaled ? "init: {std: 0.05}," : "init: {std: 0.05, scale_residual: false},"), 256, 32, DType::f64);
    int residual = 0, hidden = 0;
    for (const Parameter* p : model->params().sorted()) {
      INFO(p->name);
      if (p->traits.role == Role::own) continue;
      const bool into_stream = p->traits.role == Role::residual;
      const double want = into_stream && scaled ? 0.05 / std::sqrt(2.0 * 3) : 0.05;
      const Moments m = moments(p->value);
      const double n = std::sqrt(static_cast<double>(p->value.numel()));
      CHECK(std::abs(m.mean) < 5 * want / n);
      CHECK(std::abs(m.deviation - want) < 5 * want / n / std::sqrt(2.0));
      // Normal, not uniform: about 4.6 % lie beyond two deviations (of a uniform one none do).
      double beyond = 0;
      for (int64_t r = 0; r < p->value.rows(); ++r)
        for (int64_t c = 0; c < p->value.cols(); ++c) beyond += std::abs(at(p->value, r, c)) > 2 * want;
      CHECK(beyond > 0);
      (into_stream ? residual : hidden) += 1;
    }
    CHECK(residual == 5);  // out of each mixer, down of each channel mixer
    CHECK(hidden == 10);   // embedding, positions, head, qkv, up, qkvg, decay_down, decay_up, gate_up, in
  }
}

TEST_CASE("initialisation: norms start at 1 and biases at 0, whatever init says") {
  for (const std::string_view init : {"", "init: {std: 0.05},"}) {
    const auto model = build_model(model_with(init), 256, 32, DType::f64);
    int norms = 0, biases = 0;
    for (const Parameter* p : model->params().sorted()) {
      INFO(p->name);
      const bool norm = p->name.find("norm") != std::string::npos && ends(p->name, ".weight");
      if (!norm && !ends(p->name, ".bias")) continue;
      (norm ? norms : biases) += 1;
      for (int64_t c = 0; c < p->value.numel(); ++c) CHECK(at(p->value, 0, c) == (norm ? 1 : 0));
    }
    CHECK(norms == 9);
    CHECK(biases == 11);
  }
}

TEST_CASE("initialisation: weight decay is for matrices, not for norms and biases") {
  const auto model = build_model(model_with(""), 256, 32, DType::f64);
  for (const Parameter* p : model->params().sorted()) {
    INFO(p->name);
    const bool free = ends(p->name, ".bias") || p->name.find("norm") != std::string::npos;
    CHECK(p->traits.decay == !free);
    CHECK((p->shape.rank() == 1) == free);
  }
}

TEST_CASE("initialisation: values depend on seed and name alone") {
  const auto small = build_model("{d_model: 16, layers: [{mixer: {type: min_gru}}]}", 20);
  const auto large =
      build_model("{d_model: 16, layers: [{mixer: {type: min_gru}}, {mixer: {type: gla}, ffn: mlp}]}", 20);
  for (const Parameter* p : small->params().sorted()) CHECK(same_bits(p->value, large->params().find(p->name)->value));
  const auto other = build_model("{d_model: 16, layers: [{mixer: {type: min_gru}}]}", 20, 64, DType::f64, 6);
  CHECK_FALSE(
      same_bits(small->params().find("embedding.weight")->value, other->params().find("embedding.weight")->value));
}

TEST_CASE("initialisation: a GPT starts as GPT-2 with and without `init: {std: 0.02}`") {
  const std::string own =
      "{d_model: 16, positions: learned, block: {norm: layer_norm, ffn: {type: mlp, bias: true}}, "
      "layers: [{repeat: 3, of: [{mixer: {type: attention, position: none, bias: true}}]}]}";
  const auto a = build_model(own, 30), b = build_model("{init: {std: 0.02}, " + own.substr(1), 30);
  const auto &p = a->params().sorted(), &q = b->params().sorted();
  REQUIRE(p.size() == q.size());
  for (size_t i = 0; i < p.size(); ++i) {
    CAPTURE(p[i]->name);
    CHECK(test::max_diff(p[i]->value, q[i]->value) == 0);
  }
}
