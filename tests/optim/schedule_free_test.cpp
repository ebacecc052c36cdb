// What is schedule-free AdamW's own: weights that are evaluated and saved are others than those of training.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "config/expect.h"
#include "optim/normal_store.h"
#include "optim/optimizer.h"
#include "support/tensors.h"
#include "train/run_config.h"

using namespace effllm;
using namespace effllm::test;
using effllm::testing::config_error;

namespace {

struct Store : NormalStore {
  Store() : NormalStore({{"a.weight", {3, 5}}, {"b.vector", {4}}}, DType::f64) {}
};

std::unique_ptr<Optimizer> schedule_free(ParamStore& params) {
  OptimOptions o;
  o.type = Choice(all_optimizers, "schedule_free");
  o.lr = 0.1;
  return build_optimizer(o, {}, params);
}

std::vector<Tensor> values(const ParamStore& params) {
  std::vector<Tensor> all;
  for (const Parameter* p : params.sorted()) all.push_back(p->value.clone());
  return all;
}

void step(Optimizer& o, const ParamStore& params, uint64_t seed) {
  const Slab gradient(params.slab_elements(), params.dtype());
  for (const Parameter* p : params.sorted()) copy(random(p->shape, seed++, params.dtype()), params.view(gradient, *p));
  o.step(gradient, 1, 1);
}

}  // namespace

TEST_CASE("schedule_free: the weights that count stand in the parameters while they are shown, and no longer") {
  Store s;
  const auto o = schedule_free(s.params);
  const auto start = values(s.params);
  {
    const ShownWeights shown(*o);  // before the first step there is one set of weights
    CHECK(same_bits(values(s.params)[0], start[0]));
  }
  step(*o, s.params, 1);
  step(*o, s.params, 10);
  const auto training = values(s.params);
  {
    const ShownWeights shown(*o);
    for (size_t i = 0; i < training.size(); ++i) CHECK(max_diff(values(s.params)[i], training[i]) > 1e-4);
  }
  for (size_t i = 0; i < training.size(); ++i) CHECK(same_bits(values(s.params)[i], training[i]));
}

TEST_CASE("schedule_free: after steps of one rate the weights that count are the mean of the iterates") {
  Store s;
  const auto o = schedule_free(s.params);
  std::vector<Tensor> mean;
  constexpr int steps = 5;
  for (int n = 0; n < steps; ++n) {
    step(*o, s.params, 1 + 10 * static_cast<uint64_t>(n));
    o->visit([&](std::string_view slot, const Parameter& p, const Tensor& z) {
      if (slot != "z") return;
      const size_t i = p.name == "a.weight" ? 0 : 1;
      if (mean.size() <= i) mean.push_back(Tensor::zeros(p.shape, DType::f64));
      for (int64_t r = 0; r < z.rows(); ++r)
        for (int64_t c = 0; c < z.cols(); ++c) put(mean[i], r, c, at(mean[i], r, c) + at(z, r, c) / steps);
    });
  }
  const ShownWeights shown(*o);
  for (size_t i = 0; i < 2; ++i) CHECK(max_diff(values(s.params)[i], mean[i]) < 1e-14);
}

TEST_CASE("schedule_free: a schedule that falls is refused, a constant one is not") {
  const auto config = [](std::string_view optim) {
    return read_run_config(
        parse_config(fmt::format("{{model: {{d_model: 8, layers: [{{mixer: min_gru}}]}}, data: {{corpus: x}}, "
                                 "optim: {}, train: {{max_steps: 3}}}}",
                                 optim),
                     "run.yaml"));
  };
  CHECK(has(config_error([&] { config("{type: schedule_free}"); }), "give `schedule: {type: constant, warmup: 100}`"));
  CHECK(has(config_error([&] { config("{type: schedule_free, schedule: {type: wsd}}"); }), "keeps the rate"));
  CHECK_NOTHROW(config("{type: schedule_free, schedule: {type: constant, warmup: 5}}"));
}
