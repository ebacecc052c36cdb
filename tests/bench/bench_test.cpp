#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "autodiff/meter.h"
#include "base/version.h"
#include "bench/op_bench.h"
#include "bench/roofline.h"
#include "bench/step_bench.h"
#include "blocks/block.h"
#include "ffn/ffn.h"
#include "kernels/parallel.h"
#include "mixers/mixer.h"
#include "model/describe.h"
#include "store/safetensors.h"
#include "store/temp_folder.h"
#include "support/tensors.h"

using namespace effllm;
using effllm::test::Threads;

TEST_CASE("quantiles: nearest ranks of what was given, in any order") {
  const Quantiles q = quantiles({5, 1, 4, 2, 3, 6, 7, 8, 9, 10, 11});
  CHECK(q.median == 6);
  CHECK(q.p10 == 2);
  CHECK(q.p90 == 10);
  CHECK(quantiles({}).median == 0);
}

TEST_CASE("bench: every mixer and channel mixer has its case, and with variants every variant") {
  std::set<std::string> names;
  size_t expected = 0;
  for (const BenchCase& c : mechanism_cases({}, true)) names.insert(c.name);
  for (const auto& list : {all_mixers, all_ffns, all_blocks})
    for (const LayerInfo* m : list) {
      CHECK(names.contains(std::string(m->name)));
      expected += 1 + m->variants.size();
    }
  CHECK(names.size() == expected);
}

TEST_CASE("bench: a mechanism is run forwards, backwards and for one token, and its counted FLOPs are its own") {
  for (const BenchCase& c : mechanism_cases({.width = 64, .batch = 1, .tokens = 16}, false)) {
    CAPTURE(c.name);
    const BenchRow r = run_case(c, 0.001);
    CHECK(r.forward_s > 0);
    CHECK(r.backward_s > 0);
    const auto without = [&](const LayerInfo* m) { return m->name == c.name && !m->causal_form; };
    const bool decodes = std::ranges::none_of(all_mixers, without) && std::ranges::none_of(all_ffns, without);
    CHECK((r.step_s > 0) == decodes);  // what sees all tokens decodes none
    CHECK(r.cost.dense_flops > 0);
    CHECK(r.p1024 > 0);
  }
}

TEST_CASE("bench: every op case runs, and has a gradient") {
  std::set<std::string> names;
  for (const BenchCase& c : op_cases()) {
    CAPTURE(c.name);
    CHECK(names.insert(c.name + c.shape).second);
    if (c.shape.find("1024") == c.shape.npos) continue;  // the few long ones, to be quick: all go the same way
    CHECK(run_case(c, 0).backward_s > 0);
  }
}

TEST_CASE("bench: steps learn, and what they are given can be read by others") {
  RunConfig c = read_run_config(
      parse_config("model: {d_model: 16, layers: [{mixer: {type: min_gru}, ffn: {type: mlp}}]}\n"
                   "data: {tokenizer: byte}\noptim: {lr: 1e-2}\ntrain: {batch: 2, context: 12, max_steps: 1}\n",
                   "test"),
      "test.yaml");
  StepBench bench(c, 32);
  const TempFolder folder("bench");
  const auto path = folder / "inputs.safetensors";
  bench.save_inputs(path);
  const SafetensorsFile file(path);
  CHECK(file.find("inputs")->shape == std::vector<int64_t>{StepBench::kBatches, 2, 12});
  CHECK(file.find("embedding.weight")->shape == std::vector<int64_t>{32, 16});
  CHECK(file.metadata().at("decayed").find("layers.0.ffn.up.weight") != std::string::npos);
  CHECK(file.metadata().at("decayed").find("norm") == std::string::npos);
  const double first = bench.step().loss;
  double last = 0;
  for (int i = 0; i < 200; ++i) last = bench.step().loss;
  CHECK(last < 0.8 * first);
  CHECK(bench.flops() > 0);
}

TEST_CASE("bench: what steps compute is what their FLOPs count, with the exits that each has") {
  const Threads one(1);
  for (const auto& [curriculum, calls] : std::vector<std::pair<std::string, std::vector<uint64_t>>>{
           {"gradual", {4, 4}}, {"rotational, every: 2", {2, 3, 3, 3, 3, 2}}}) {
    CAPTURE(curriculum);
    RunConfig c =
        read_run_config(parse_config("model: {d_model: 16, layers: [{repeat: 5, of: [{mixer: min_gru, ffn: mlp}]}]}\n"
                                     "objective: {early_exit: {scale: 0.5, curriculum: " +
                                         curriculum + "}}\ntrain: {batch: 2, context: 12, max_steps: 1, lanes: 1}\n",
                                     "test"),
                        "test.yaml");
    const auto flops = [&](double exits) {
      ModelConfig with = c.model;
      with.exits = exits;
      return 2 * 12 * model_flops_per_token(with, 32, 12);
    };
    StepBench bench(c, 32);
    for (const uint64_t wanted : calls) {
      Meter meter;
      const StepBench::Step s = bench.step();
      const auto head = meter.by_op.find("linear_cross_entropy");
      REQUIRE(head != meter.by_op.end());
      CHECK(static_cast<uint64_t>(head->second.calls) == wanted);
      CHECK(s.flops == doctest::Approx(flops(static_cast<double>(wanted) - 1)).epsilon(1e-12));
    }
  }
}

TEST_CASE("bench: no product is faster than multiply-adds in registers") {
  Roofline r = measure_roofline(0.2);
  const auto believable = [&] { return r.p1024.median < 1.1 * r.fma && r.best < 1.1 * r.fma; };
  if (build_info().build_type != "Debug") {  // sanitizers slow our multiply-adds, but not the library's products
    for (int i = 0; i < 8 && !believable(); ++i) r = measure_roofline(0.2);  // other tests may have run beside one
    CHECK(believable());
  }
  CHECK(r.best >= r.p1024.p10);
  CHECK(r.read.size() == 5);
  for (const Bandwidth& b : r.read) CHECK(b.read_gb_per_s > 0);
  CHECK(r.triad_gb_per_s > 0);
  CHECK(r.barrier_us.median > 0);
  CHECK(process_age() > 0);
  CHECK(process_peak_bytes() > 1e6);
}
