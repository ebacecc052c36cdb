#include "train/expert_gradients.h"

#include <doctest/doctest.h>

#include <cmath>
#include <map>

#include "support/models.h"
#include "support/named.h"
#include "support/run_calls.h"

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

TEST_CASE("expert gradients: they are computed for rows of the journal alone, of the step that ends each") {
  using namespace test;
  const Threads one(1);
  const TinyFolder t("expert_gradients");
  const Sets same = {"model.block={ffn: {type: moe, experts: 3, expand: 1}}"};
  const auto rows = [&](const Sets& set) {
    const RunOutcome run = train(t, with(same, set));
    const JournalData journal = read_journal(run.folder / "metrics.jsonl");
    const JournalTable& table = *journal.find("train");
    const std::vector<double>* norms = table.find("layers.0.ffn.experts.grad_norm_max");
    REQUIRE(norms);
    std::map<int64_t, double> by_step;
    for (size_t i = 0; i < norms->size(); ++i) by_step[table.step[i]] = (*norms)[i];
    return by_step;
  };
  const auto each = rows({"name=each", "train.log_every=1", "train.max_steps=8"}),
             some = rows({"name=some", "train.log_every=3", "train.max_steps=8"});
  CHECK(each.size() == 8);
  REQUIRE(some.size() == 3);
  for (const int64_t step : {3, 6, 8}) {  // the last is a row too
    CHECK(each.at(step) > 0);
    CHECK(some.at(step) == each.at(step));
  }
  // A step alone computes none.
  const auto model = build_model("{d_model: 8, layers: [{mixer: min_gru, ffn: {type: moe, experts: 3, expand: 1}}]}", 7,
                                 12, DType::f32);
  const auto optimizer = build_optimizer(OptimOptions(), {}, model->params());
  Trainer trainer(*model, next_token(), *optimizer, plan_shards(2, 6, 1, 0, model->params().count()), {.seed = 3});
  Batch batch = batch_for(2, 6);
  batch.inputs.assign(12, 1);
  batch.targets.assign(12, 2);
  const StepResult r = trainer.step(batch, 0, 1);
  for (const Measured& m : r.rows) CHECK_MESSAGE(m.name.find("grad_norm") == m.name.npos, m.name);
  const std::vector<Measured> norms = trainer.expert_gradients();
  REQUIRE(norms.size() == 3);
  CHECK(norms[0].value > 0);
  CHECK(norms[0].value < r.grad_norm);
}
