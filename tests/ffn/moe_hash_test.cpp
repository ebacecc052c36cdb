// A mixture of experts in which a hash of the token's id chooses.
#include <doctest/doctest.h>

#include "base/random.h"
#include "blocks/block.h"
#include "ffn/ffn.h"
#include "mixers/built_mixer.h"
#include "support/models.h"
#include "support/trained_layer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 12;

struct Hashed : BuiltMixer {
  explicit Hashed(const std::string& options)
      : BuiltMixer(all_ffns.find("moe"), "{choose: hash, top_k: 1, expand: 2" + options + "}", kWidth) {
    shake(0.3);
  }
  Tensor run(const Tensor& x, const Tensor& ids, Phase phase = Phase::infer) const {
    Context cx;
    cx.ids = ids;
    cx.phase = phase;
    return mixer->forward(x, cx);
  }
};

Tensor same_id(int32_t id, int64_t batch, int64_t tokens) {
  const Tensor ids = Tensor::dense({batch, tokens}, DType::i32);
  std::fill_n(ids.data<int32_t>(), ids.numel(), id);
  return ids;
}
int64_t expert_of(int32_t id, uint64_t seed, uint64_t experts) {
  return static_cast<int64_t>(RandomStream(seed, "hash").below(static_cast<uint64_t>(id), experts));
}

}  // namespace

TEST_CASE("moe hash: a token is the dense perceptron of the expert that its id says, whatever it holds") {
  const Hashed m(", experts: 3, hash_seed: 5");
  const BuiltMixer dense(all_ffns.find("swiglu"), "{expand: 2}", kWidth);
  CHECK(m.store.find("router.weight") == nullptr);
  for (const int32_t id : {0, 1, 2, 3, 4, 5}) {
    const int64_t e = expert_of(id, 5, 3);
    for (const char* name : {"gate_up.weight", "down.weight"}) {
      const Tensor& all = m[std::string("experts.") + name].value;
      const int64_t rows = all.dim(0) / 3;
      copy(all.row_range(e * rows, {rows, all.cols()}), dense[name].value);
    }
    for (const uint64_t seed : {1, 2}) {
      const Tensor x = random({2, 5, kWidth}, seed);
      CHECK(max_diff(m.run(x, same_id(id, 2, 5)), dense.forward(x)) < 1e-13);
    }
  }
}

TEST_CASE("moe hash: a seed is one function of ids, which spreads them, and another seed another") {
  std::vector<int64_t> times(4);
  int64_t moved = 0;
  for (int32_t id = 0; id < 1000; ++id) {
    ++times[static_cast<size_t>(expert_of(id, 0, 4))];
    moved += expert_of(id, 0, 4) != expert_of(id, 1, 4);
  }
  for (const int64_t n : times) CHECK((n > 200 && n < 300));
  CHECK((moved > 650 && moved < 850));
  const Hashed a(", experts: 4"), same(", experts: 4"), other(", experts: 4, hash_seed: 1");
  const Tensor x = random({1, 40, kWidth}, 1), ids = random_ids(1, 40, 1000, 3);
  CHECK(same_bits(a.run(x, ids), same.run(x, ids)));
  CHECK_FALSE(same_bits(a.run(x, ids), other.run(x, ids)));
}

TEST_CASE("moe hash: what it does not learn is no option, its load is a row, and a run that tells no ids is an error") {
  const Hashed m(", experts: 3");
  const Tensor x = random({2, 6, kWidth}, 2), ids = ids_of(x);
  const TrainedLayer step = train(m, x);
  std::vector<double> times(3);
  for (int64_t i = 0; i < ids.numel(); ++i) ++times[static_cast<size_t>(expert_of(ids.data<int32_t>()[i], 0, 3))];
  CHECK(step["max_load"] == std::ranges::max(times) * 3 / 12);
  for (size_t e = 0; e < 3; ++e) CHECK(step["load." + std::to_string(e)] == times[e] / 12);
  CHECK(step.ledger.rows().size() == 4);
  CHECK(m.store.active() == m.store.count() / 3);
  CHECK_THROWS_WITH_AS(m.mixer->forward(x, {}), doctest::Contains("reads which tokens it is given"), Error);
  for (const char* idle : {"score: sigmoid", "topk_norm: false", "jitter: 0.1", "balance: 0.1", "balance_f: k",
                           "balance_scope: layer_sum", "balance_tokens: shard", "router_z: 0.1", "entropy: 0.1"})
    CHECK_THROWS_WITH_AS(Hashed(std::string(", ") + idle), doctest::Contains("does nothing where a hash chooses"),
                         ConfigError);
  CHECK_THROWS_WITH_AS(Hashed(", bias_rate: 0.1"), doctest::Contains("leave bias_rate out with hash"), ConfigError);
  CHECK_THROWS_WITH_AS(Hashed(", groups: 4, groups_kept: 2"), doctest::Contains("leave groups out"), ConfigError);
  CHECK_THROWS_WITH_AS(BuiltMixer(all_ffns.find("moe"), "{choose: hash}", kWidth), doctest::Contains("take top_k: 1"),
                       ConfigError);
  CHECK_THROWS_WITH_AS(BuiltMixer(all_ffns.find("moe"), "{hash_seed: 1}", kWidth),
                       doctest::Contains("hash_seed does nothing without choose: hash"), ConfigError);
}

TEST_CASE("moe hash: where a block is given some tokens, or some sequences, ids are theirs") {
  const BuiltMixer block(
      all_blocks.find("mod"),
      "{capacity: 0.4, router: random, mixer: min_gru, ffn: {type: moe, experts: 4, top_k: 1, choose: "
      "hash, expand: 1}}",
      kWidth);
  const Tensor x = random({2, 10, kWidth}, 4);
  Context cx;
  cx.ids = ids_of(x);
  cx.phase = Phase::train;
  const Tensor before = block.mixer->forward(x, cx);
  // Those of tokens that are not chosen change nothing, those of the chosen do.
  int64_t turned = 0, still = 0;
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < 10; ++t) {
      bool chosen = false;
      for (int64_t c = 0; c < kWidth; ++c) chosen |= at(before, b * 10 + t, c) != at(x, b * 10 + t, c);
      bool changed = false;
      for (const int32_t id : {11, 12, 13, 14, 15, 16}) {
        cx.ids = ids_of(x);
        cx.ids.data<int32_t>()[b * 10 + t] = id;
        changed |= !same_bits(block.mixer->forward(x, cx), before);
      }
      CHECK(changed == chosen);
      (chosen ? turned : still) += 1;
    }
  CHECK(turned == 8);
  CHECK(still == 12);
}
