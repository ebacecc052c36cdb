#include "train/expert_gradients.h"

#include <doctest/doctest.h>

#include <cmath>

#include "support/models.h"

using namespace effllm;

TEST_CASE("expert gradients: the norms are those of each expert's rows, over all its weights") {
  const auto model = test::build_model(
      "{d_model: 8, block: {mixer: min_gru}, layers: [{ffn: {type: moe, experts: 3, expand: 1, shared: 1}}, {ffn: "
      "mlp}]}",
      7);
  const ParamStore& params = model->params();
  const Slab gradient(params.slab_elements(), DType::f64);
  std::vector<double> squares(3);
  int weights = 0;
  for (const Parameter* p : params.sorted()) {
    const Tensor g = params.view(gradient, *p);
    const bool of_experts = p->name.starts_with("layers.0.ffn.experts.");
    weights += of_experts;
    for (int64_t r = 0; r < g.rows(); ++r)
      for (int64_t c = 0; c < g.cols(); ++c) {
        double& x = g.view<double>().row(r)[c];
        x = static_cast<double>(1 + r % 5) * 0.1 + static_cast<double>(c);
        if (of_experts) squares[static_cast<size_t>(r * 3 / g.rows())] += x * x * (r * 3 / g.rows() == 1 ? 4 : 1);
        if (of_experts && r * 3 / g.rows() == 1) x *= 2;
      }
  }
  CHECK(weights == 2);
  for (double& s : squares) s = std::sqrt(s);
  const std::vector<Measured> rows = expert_gradients(params, &gradient);
  REQUIRE(rows.size() == 3);
  const auto [least, largest] = std::minmax({squares[0], squares[1], squares[2]});
  const std::vector<std::pair<const char*, double>> expected = {
      {"max", largest}, {"mean", (squares[0] + squares[1] + squares[2]) / 3}, {"min", least}};
  for (size_t i = 0; i < 3; ++i) {
    CHECK(rows[i].name == std::string("layers.0.ffn.experts.grad_norm_") + expected[i].first);
    CHECK(rows[i].value == doctest::Approx(expected[i].second).epsilon(1e-12));
  }
  const std::vector<Measured> names = expert_gradients(params, nullptr);
  REQUIRE(names.size() == 3);
  CHECK(names[0].name == rows[0].name);
  CHECK(names[0].value == 0);
}

TEST_CASE("expert gradients: an expert of peer is one row of each table, and those that nobody asked have none") {
  const auto model =
      test::build_model("{d_model: 8, layers: [{mixer: min_gru, ffn: {type: peer, keys: 2, heads: 1, top_k: 1}}]}", 7);
  const ParamStore& params = model->params();
  const Slab gradient(params.slab_elements(), DType::f64);
  for (const char* table : {"up", "down"}) {
    const Parameter* p = params.find(std::string("layers.0.ffn.experts.") + table + ".weight");
    REQUIRE(p);
    const Tensor g = params.view(gradient, *p);
    for (int64_t r = 0; r < 4; ++r) fill(g.row_range(r, {1, 8}), r == 0 ? 0 : table[0] == 'u' ? 3 : 4 * (r == 3));
  }
  const std::vector<Measured> rows = expert_gradients(params, &gradient);
  REQUIRE(rows.size() == 3);
  CHECK(rows[0].name == "layers.0.ffn.experts.grad_norm_max");
  CHECK(rows[0].value == doctest::Approx(5 * std::sqrt(8)).epsilon(1e-12));
  CHECK(rows[1].value == doctest::Approx((3 + 3 + 5) * std::sqrt(8) / 4).epsilon(1e-12));
  CHECK(rows[2].value == 0);
}
