// What a mixture of experts is equal to, what keeps its experts evenly used, and what buffers do in a step.
#include <doctest/doctest.h>

#include <functional>
#include <numeric>

#include "ffn/ffn.h"
#include "mixers/built_mixer.h"
#include "nn/ledger.h"
#include "ops/arithmetic.h"
#include "ops/softmax.h"
#include "support/trained_layer.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kWidth = 12;

struct Moe : BuiltMixer {
  explicit Moe(std::string_view options) : BuiltMixer(all_ffns.find("moe"), options, kWidth) { shake(0.3); }
};
BuiltMixer dense(std::string_view type, std::string_view options) { return {all_ffns.find(type), options, kWidth}; }

// Rows [expert * rows, ..) of a stack.
Tensor of_expert(const Parameter& p, int64_t expert, int64_t experts) {
  const int64_t rows = p.shape[0] / experts;
  return p.value.row_range(expert * rows, {rows, p.shape[1]});
}
void take_expert(const BuiltMixer& to, const BuiltMixer& from, std::string_view first, int64_t expert,
                 int64_t experts) {
  for (const std::string& name : {std::string(first) + ".weight", std::string("down.weight")})
    copy(of_expert(from["experts." + name], expert, experts), to[name].value);
}

// A router that sends tokens with a large x_0 to expert 0, the others to expert 1.
void route_by_sign(const BuiltMixer& m, double sign) {
  fill(m["router.weight"].value, 0);
  put(m["router.weight"].value, 0, 0, sign * 4);
  put(m["router.weight"].value, 1, 0, sign * -4);
}
Tensor with_first(double value) {
  const Tensor x = random({2, 6, kWidth}, 2);
  for (int64_t r = 0; r < x.rows(); ++r) put(x, r, 0, value);
  return x;
}

}  // namespace

TEST_CASE("moe: one expert is the dense perceptron to the bit") {
  const Tensor x = random({2, 7, kWidth}, 1);
  const Moe m("{experts: 1, top_k: 1, expand: 2}");
  const BuiltMixer d = dense("swiglu", "{expand: 2}");
  take_expert(d, m, "gate_up", 0, 1);
  CHECK(same_bits(m.forward(x), d.forward(x)));
  const Moe g("{experts: 1, top_k: 1, expand: 2, activation: gelu}");
  const BuiltMixer e = dense("mlp", "{expand: 2}");
  take_expert(e, g, "up", 0, 1);
  CHECK(same_bits(g.forward(x), e.forward(x)));
}

TEST_CASE("moe: equal experts are the dense perceptron, and all of them the mixture") {
  const Tensor x = random({2, 7, kWidth}, 1);
  const Moe m("{experts: 4, top_k: 2}");
  const BuiltMixer d = dense("swiglu", "{}");
  take_expert(d, m, "gate_up", 0, 4);
  for (const char* name : {"experts.gate_up.weight", "experts.down.weight"})
    for (int64_t e = 1; e < 4; ++e) copy(of_expert(m[name], 0, 4), of_expert(m[name], e, 4));
  CHECK(max_diff(m.forward(x), d.forward(x)) < 1e-12);

  for (const bool norm : {true, false}) {
    const Moe all(norm ? "{experts: 3, top_k: 3}" : "{experts: 3, top_k: 3, topk_norm: false, scale: 2}");
    Tensor want = Tensor::zeros(x.shape(), DType::f64);
    const Tensor& router = all["router.weight"].value;
    Tensor logits = Tensor::dense({2, 7, 3}, DType::f64);
    for (int64_t r = 0; r < 14; ++r)
      for (int64_t e = 0; e < 3; ++e) {
        double sum = 0;
        for (int64_t c = 0; c < kWidth; ++c) sum += at(x, r, c) * at(router, e, c);
        put(logits, r, e, sum);
      }
    const Tensor weight = softmax(logits);
    for (int64_t e = 0; e < 3; ++e) {
      take_expert(d, all, "gate_up", e, 3);
      const Tensor y = d.forward(x);
      for (int64_t r = 0; r < 14; ++r)
        for (int64_t c = 0; c < kWidth; ++c)
          put(want, r, c, at(want, r, c) + (norm ? 1 : 2) * at(weight, r, e) * at(y, r, c));
    }
    CHECK(max_diff(all.forward(x), want) < 1e-12);
  }
}

TEST_CASE("moe: shared experts are added, or take part in the mean") {
  const Tensor x = random({2, 7, kWidth}, 1);
  const Moe sum("{shared: 2}"), mean("{shared: 2, shared_as: average}"), none("{}");
  const BuiltMixer d = dense("swiglu", "{expand: 5.3334}");
  CHECK(d["down.weight"].shape == sum["shared.down.weight"].shape);
  copy(sum["shared.gate_up.weight"].value, d["gate_up.weight"].value);
  copy(sum["shared.down.weight"].value, d["down.weight"].value);
  const Tensor routed = none.forward(x), shared = d.forward(x);  // noise goes by name: the same in all three
  CHECK(max_diff(sum.forward(x), add(routed, shared)) < 1e-12);
  CHECK(max_diff(mean.forward(x), scale(add(scale(routed, 2), shared), 1.0 / 3)) < 1e-12);
}

TEST_CASE("moe: the order of sequences changes nothing, and without a capacity no token depends on another") {
  const Moe m("{}");
  const Tensor x = random({4, 6, kWidth}, 1), y = m.forward(x);
  const Tensor turned = Tensor::empty(x.shape(), DType::f64);
  for (int64_t b = 0; b < 4; ++b) copy(x.row_range((3 - b) * 6, {6, kWidth}), turned.row_range(b * 6, {6, kWidth}));
  const Tensor z = m.forward(turned);
  for (int64_t b = 0; b < 4; ++b)
    CHECK(max_diff(z.row_range((3 - b) * 6, {6, kWidth}), y.row_range(b * 6, {6, kWidth})) < 1e-12);
  CHECK(max_diff(m.forward(x.row_range(7, {1, 1, kWidth})), y.row_range(7, {1, 1, kWidth})) < 1e-12);
}

TEST_CASE("moe: a capacity drops choices in training alone, and says how many") {
  const Moe m("{experts: 2, top_k: 1, capacity: 1, topk_norm: false}");
  route_by_sign(m, 1);
  const Tensor x = with_first(1);  // all 6 tokens of a sequence go to expert 0, which takes 3
  const TrainedLayer s = train(m, x);
  for (int64_t r = 0; r < 12; ++r) CHECK((max_abs(s.y.row_range(r, {1, kWidth})) > 0) == (r % 6 < 3));
  CHECK(s["dropped"] == 0.5);
  const Tensor y = m.forward(x);
  for (int64_t r = 0; r < 12; ++r) CHECK(max_abs(y.row_range(r, {1, kWidth})) > 0);
}

TEST_CASE("moe: a capacity of 1 is the even share of all choices, k of each token") {
  const Moe m("{experts: 4, top_k: 2, capacity: 1}");
  fill(m["router.weight"].value, 0);
  put(m["router.weight"].value, 0, 0, 8);  // all take expert 0, then 1
  put(m["router.weight"].value, 1, 0, 4);
  const Tensor x = random({2, 8, kWidth}, 2);
  for (int64_t r = 0; r < x.rows(); ++r) put(x, r, 0, 1);
  const TrainedLayer s = train(m, x);
  const Tensor whole = m.forward(x);
  for (int64_t r = 0; r < 16; ++r) {  // 1 * 2 * 8 / 4 = 4 choices of a sequence are an expert's
    const Tensor own = s.y.row_range(r, {1, kWidth});
    if (r % 8 < 4)
      CHECK(max_diff(own, whole.row_range(r, {1, kWidth})) < 1e-14);
    else
      CHECK(max_abs(own) == 0);
  }
  CHECK(s["dropped"] == 0.5);
}

TEST_CASE("moe: what a step costs is what a capacity lets it run at most, in training alone") {
  const Tensor x = random({2, 12, kWidth}, 1);
  const auto flops = [&](const std::string& options, Phase phase) {
    const Moe m("{experts: 4, top_k: 2, expand: 2" + options + "}");
    Context cx;
    cx.phase = phase;
    Meter meter;
    m.mixer->forward(x, cx);
    return meter.total.dense_flops - 2 * 24 * kWidth * 4;  // but the router's
  };
  const double one = 2 * 3 * 24 * kWidth;  // of a choice
  CHECK(flops("", Phase::train) == 24 * 2 * one);
  CHECK(flops(", capacity: 1.5", Phase::train) == 24 * 2 * one);
  CHECK(flops(", capacity: 0.5", Phase::train) == 24 * one);
  CHECK(flops(", capacity: 0.01", Phase::train) == 2 * 4 * one);  // one choice of each expert and sequence
  CHECK(flops(", capacity: 0.5", Phase::infer) == 24 * 2 * one);
}

TEST_CASE("moe: permuted tokens of a batch are permuted results where nothing is dropped, and others with a capacity") {
  const Tensor x = random({3, 8, kWidth}, 1), turned = Tensor::empty(x.shape(), DType::f64);
  const auto from = [](int64_t r) { return r * 7 % 24; };  // across sequences too
  for (int64_t r = 0; r < 24; ++r) copy(x.row_range(from(r), {1, kWidth}), turned.row_range(r, {1, kWidth}));
  const auto difference = [&](const char* options, const char* of_loss) {
    const Moe m(options);
    const TrainedLayer a = train(m, x), b = train(m, turned);
    double most = std::abs(a[of_loss] - b[of_loss]);
    for (int64_t r = 0; r < 24; ++r)
      most = std::max(most, max_diff(b.y.row_range(r, {1, kWidth}), a.y.row_range(from(r), {1, kWidth})));
    return most;
  };
  for (const char* dropless : {"{balance_tokens: shard, router_z: 1}", "{balance_tokens: previous_batch}",
                               "{choose: top_p, balance_tokens: shard}", "{experts: 6, groups: 3, groups_kept: 2}",
                               "{score: sigmoid, shared: 1, balance_tokens: shard}"})
    CHECK_MESSAGE(difference(dropless, "balance") < 1e-12, dropless);
  for (const char* capacity : {"{capacity: 0.75}", "{capacity: 0.75, drop_order: choice_major}"})
    CHECK_MESSAGE(difference(capacity, "dropped") > 1e-3, capacity);
}

TEST_CASE("moe: what a capacity drops takes its weight along") {
  const Moe m("{experts: 3, top_k: 2, capacity: 0.5}");
  const Tensor x = random({1, 1, kWidth}, 3);  // one token, a capacity of one choice an expert: nothing is dropped
  CHECK(max_diff(train(m, x).y, m.forward(x)) < 1e-14);
  // Of two equal tokens the second has nobody; of three choices of it none is left to be weighed as one.
  Tensor twice = Tensor::empty({1, 2, kWidth}, DType::f64);
  for (int64_t r = 0; r < 2; ++r)
    for (int64_t c = 0; c < kWidth; ++c) put(twice, r, c, at(x, 0, c));
  const Moe half("{experts: 2, top_k: 2, capacity: 0.5, drop_order: choice_major}");
  const Tensor y = train(half, twice).y, whole = half.forward(twice);
  CHECK(max_diff(y.row_range(0, {1, kWidth}), whole.row_range(0, {1, kWidth})) < 1e-14);
  CHECK(max_abs(y.row_range(1, {1, kWidth})) == 0);
}

TEST_CASE("moe: the balance loss of a uniform router is 1, or k, whatever it is counted over") {
  const Tensor x = random({2, 6, kWidth}, 1);
  for (const char* over : {"previous_batch", "shard", "sequence"})
    for (const char* score : {"softmax", "sigmoid"})
      for (const char* f : {"unit", "k"}) {
        const std::string options =
            fmt::format("{{experts: 4, top_k: 2, balance_tokens: {}, score: {}, balance_f: {}}}", over, score, f);
        CAPTURE(options);
        const Moe m(options);
        fill(m["router.weight"].value, 0);
        CHECK(std::abs(train(m, x)["balance"] - (f[0] == 'u' ? 1 : 2)) < 1e-12);
      }
}

TEST_CASE("moe: each sequence has shares of its own where they are counted so") {
  const Tensor x = with_first(1);
  for (int64_t r = 6; r < 12; ++r) put(x, r, 0, -1);  // the first goes to expert 0, the second to expert 1
  const double score = 1 / (1 + std::exp(-8.0));
  for (const bool each : {true, false}) {
    const Moe m(each ? "{experts: 2, top_k: 1, topk_norm: false, balance_tokens: sequence}"
                     : "{experts: 2, top_k: 1, topk_norm: false, balance_tokens: shard}");
    route_by_sign(m, 1);
    CHECK(std::abs(train(m, x)["balance"] - (each ? 2 * score : 1)) < 1e-12);
  }
}

TEST_CASE("moe: the router's noise reaches its choice, and no expert") {
  const Tensor x = random({2, 6, kWidth}, 1);
  const Moe one("{experts: 1, top_k: 1, jitter: 0.5}"), many("{experts: 4, top_k: 1, jitter: 0.5, topk_norm: false}");
  CHECK(same_bits(train(one, x).y, one.forward(x)));
  CHECK(max_diff(train(many, x).y, many.forward(x)) > 1e-3);
}

TEST_CASE("moe: shares are those of the whole batch before, and opposite imbalances of two layers do not cancel") {
  const Tensor up = with_first(1), down = with_first(-1);
  for (const bool pooled : {false, true}) {
    // Two layers of one model.
    ParamStore store;
    const std::map<std::string_view, int64_t> uses = {{"moe", 2}};
    std::vector<std::unique_ptr<Layer>> layers;
    const auto options = all_ffns.find("moe").options();
    read(*options,
         parse_config(pooled ? "{experts: 2, top_k: 1, topk_norm: false, balance_scope: pooled}"
                             : "{experts: 2, top_k: 1, topk_norm: false}",
                      "test"),
         "moe");
    for (const char* name : {"a", "b"})
      layers.push_back(all_ffns.find("moe").build(
          *options, {.d_model = kWidth, .layer = 0, .layers = 2, .max_tokens = 8, .uses = &uses}, Scope(store) / name));
    store.materialize(1, DType::f64);
    for (const Parameter* p : store.sorted())
      if (p->name.ends_with("router.weight")) {
        const double sign = p->name[0] == 'a' ? 4 : -4;
        fill(p->value, 0);
        put(p->value, 0, 0, sign);
        put(p->value, 1, 0, -sign);
      }
    Context cx;
    cx.phase = Phase::train;
    double loss = 0;
    for (int step = 0; step < 2; ++step) {
      Ledger ledger(12, 12);
      cx.ledger = &ledger;
      loss = 0;
      for (const auto& l : layers) {
        l->forward(up, cx);
        loss = TrainedLayer{{}, ledger}["balance"];
      }
      CHECK(std::abs(loss / 2 - (step == 0 || pooled ? 1 : 1.999329)) < 1e-6);  // both layers add to one name here
      ledger.apply(store);
    }
  }
}

TEST_CASE("moe: the bias of an expert that takes more than its share falls, and turns the choice") {
  const Moe m("{experts: 2, top_k: 1, balance: 0, bias_rate: 0.25, topk_norm: false}");
  route_by_sign(m, 0.1);  // scores 0.69 and 0.31
  const Tensor x = with_first(1);
  const ModelBuffer* bias = m.store.find_buffer("buffers.router.bias");
  REQUIRE(bias);
  const Tensor before = train(m, x).y;
  Tensor last;
  for (int step = 0; step < 2; ++step) {
    const TrainedLayer s = train(m, x);
    CHECK(s["max_load"] == 2);
    s.ledger.apply(const_cast<ParamStore&>(m.store));
    CHECK(at(bias->value, 0, 0) == (step == 0 ? -0.25 : 0));
    CHECK(at(bias->value, 0, 1) == (step == 0 ? 0.25 : 0));
    if (step == 0) last = m.forward(x);
  }
  CHECK(max_diff(last, before) > 1e-3);  // now the other expert's, whose weight is its own score
  CHECK(m.store.find_buffer("statistics.router.load") == nullptr);
}

TEST_CASE("moe: centred biases add up to nothing, and are as far apart as those that are not") {
  // Of three experts one gets 12 of 24 choices, one 9, one 3: one is above the mean of 8, and so is another.
  const Tensor x = random({2, 12, kWidth}, 2);
  for (int64_t r = 0; r < 24; ++r)
    for (int64_t e = 0; e < 3; ++e) put(x, r, e, e == (r < 12 ? 0 : r < 21 ? 1 : 2) ? 1 : -1);
  for (const bool centred : {true, false}) {
    const Moe m(std::string("{experts: 3, top_k: 1, balance: 0, bias_rate: 0.3, topk_norm: false, bias_center: ") +
                (centred ? "true}" : "false}"));
    fill(m["router.weight"].value, 0);
    for (int64_t e = 0; e < 3; ++e) put(m["router.weight"].value, e, e, 1);
    train(m, x).ledger.apply(const_cast<ParamStore&>(m.store));
    const Tensor& bias = m.store.find_buffer("buffers.router.bias")->value;
    const double middle = centred ? -0.1 : 0;  // the mean of -0.3, -0.3 and 0.3
    for (int64_t e = 0; e < 3; ++e)
      CHECK(at(bias, 0, e) == doctest::Approx((e < 2 ? -0.3 : 0.3) - middle).epsilon(1e-12));
  }
}

TEST_CASE("moe: how choices are spread is reported, and each expert's share where they are few") {
  const Moe m("{experts: 3, top_k: 1, topk_norm: false}"), many("{experts: 65, top_k: 1, topk_norm: false}");
  fill(m["router.weight"].value, 0);
  put(m["router.weight"].value, 1, 0, 1);
  put(m["router.weight"].value, 2, 0, -1);
  const Tensor x = with_first(1);
  for (int64_t r = 0; r < 3; ++r) put(x, r, 0, -1);  // 3 of 12 go to expert 2, the others to expert 1
  const TrainedLayer s = train(m, x);
  CHECK(s["load.0"] == 0);
  CHECK(s["load.1"] == 0.75);
  CHECK(s["load.2"] == 0.25);
  CHECK(s["max_load"] == 2.25);
  const std::vector<Measured> rows = s.ledger.rows(), of_many = train(many, x).ledger.rows();
  const auto of = [](const std::vector<Measured>& all, std::string_view begin) {
    return std::ranges::count_if(all, [&](const Measured& one) { return one.name.starts_with(begin); });
  };
  CHECK(of(rows, "load.") == 3);
  CHECK(of(of_many, "load.") == 0);
  CHECK(of(of_many, "max_load") == 1);
  for (const Measured& one : rows)
    if (one.name == "load.2") {
      CHECK(one.metric->unit == "1");
      CHECK(one.metric->title == "share of the choices that expert 2 got");
    }
}

TEST_CASE("moe: the weight of relu's loss follows how many experts tokens have, and the loss counts them") {
  for (const char* over : {"shard", "sequence", "previous_batch"}) {
    const Moe m(
        fmt::format("{{experts: 3, top_k: 1, choose: relu, topk_norm: false, balance: 0.5, balance_rate: 2, "
                    "balance_tokens: {}}}",
                    over));
    const Tensor x = with_first(1);
    const ModelBuffer* weight = m.store.find_buffer("statistics.moe.balance_weight");
    REQUIRE(weight);
    double want = 0.5;
    for (const double logit : {2.0, 2.0, -2.0}) {
      fill(m["router.weight"].value, 0);
      for (int64_t e = 0; e < 3; ++e) put(m["router.weight"].value, e, 0, logit);
      const TrainedLayer s = train(m, x);
      CHECK(s["chosen"] == (logit > 0 ? 3 : 0));
      CHECK(s["balance_weight"] == want);
      CHECK((max_abs(s.y) > 0) == (logit > 0));
      if (over[0] != 'p') CHECK(s["balance"] == (logit > 0 ? 3 * 3 * 2 : 0));  // E sum_e f_e P_e, f_e being 1 each
      s.ledger.apply(const_cast<ParamStore&>(m.store));
      want = logit > 0 ? want * 2 : want / 2;
      CHECK(at(weight->value, 0, 0) == want);
      if (over[0] == 'p') CHECK(at(m.store.find_buffer("statistics.router.load")->value, 0, 1) == (logit > 0 ? 1 : 0));
    }
  }
}

TEST_CASE("moe: the entropy of a uniform router is the log of the experts, with a weight or without") {
  for (const char* options : {"{experts: 4, choose: top_p}", "{experts: 4, choose: top_p, entropy: 0.1}"}) {
    const Moe m(options);
    fill(m["router.weight"].value, 0);
    CHECK(std::abs(train(m, random({2, 6, kWidth}, 1))["router_entropy"] - std::log(4)) < 1e-12);
  }
}

TEST_CASE("moe: experts without products answer their input, a mean of it and a vector, or nothing") {
  const Tensor x = with_first(1), half = scale(x, 0.5);
  const auto sent_to_last = [&](const char* options) {  // of two experts, a perceptron and one without products
    Moe m(options);
    fill(m["router.weight"].value, 0);
    put(m["router.weight"].value, 1, 0, 50);  // a score of 1 to the last bit
    if (const Parameter* mix = m.store.find("constants.mix.weight")) fill(mix->value, 0);
    return m.forward(x);
  };
  CHECK(same_bits(sent_to_last("{experts: 1, top_k: 1, copies: 1, topk_norm: false}"), x));
  CHECK(max_abs(sent_to_last("{experts: 1, top_k: 1, zeros: 1, topk_norm: false}")) == 0);
  const Tensor mean = sent_to_last("{experts: 1, top_k: 1, constants: 1, topk_norm: false}"),
               vectors =
                   Moe("{experts: 1, top_k: 1, constants: 1, topk_norm: false}")["constants.vectors.weight"].value;
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < kWidth; ++c)
      CHECK(std::abs(at(mean, r, c) - (at(half, r, c) + 0.5 * at(vectors, c, 0))) < 1e-14);
  // Beside one that answers nothing, a perceptron has all of the weight.
  const BuiltMixer d = dense("swiglu", "{}");
  const Moe beside("{experts: 1, top_k: 2, zeros: 1}");
  take_expert(d, beside, "gate_up", 0, 1);
  CHECK(max_diff(beside.forward(x), d.forward(x)) < 1e-14);
  const Moe m("{experts: 6, top_k: 3, expand: 2, constants: 1, copies: 1, zeros: 1}");
  CHECK(m.store.active() == 2 * 3 * 24 * kWidth + 9 * kWidth + 3 * kWidth);  // two of three go to perceptrons
  CHECK(m["router.weight"].shape == Shape{9, kWidth});
}

TEST_CASE("moe: what does not fit together is told at once, with the place") {
  const auto refused = [](std::string_view options) {
    std::string text;
    try {
      BuiltMixer(all_ffns.find("moe"), options, kWidth);
    } catch (const ConfigError& e) {
      text = e.what();
    }
    return text;
  };
  CHECK(refused("{experts: 6, groups: 4}").find("6 experts don't fall into 4 groups") != std::string::npos);
  CHECK(refused("{experts: 6, top_k: 3, groups: 3}").find("top_k is 3, but a token chooses from 2") !=
        std::string::npos);
  CHECK(refused("{experts: 4, top_k: 1}").find("the router no gradient") != std::string::npos);
  for (const char* idle : {"top_p: 0.5", "drop_order: choice_major", "bias_center: true", "shared_as: average",
                           "balance: 0, balance_f: k", "balance: 0, balance_scope: layer_sum"})
    CHECK_MESSAGE(refused("{" + std::string(idle) + "}").find("does nothing without") != std::string::npos, idle);
  const std::string relu = refused("{choose: relu, top_k: 8, score: sigmoid, capacity: 2, balance: 0, entropy: 0.1}");
  for (const char* part : {"the logits are the scores", "take topk_norm: false", "needs a balance loss",
                           "top_k of 8 experts, not 8", "leave it out with relu", "one of softmax scores"})
    CHECK(relu.find(part) != std::string::npos);
  const std::string two = refused("{choose: top_p, score: sigmoid, balance_scope: pooled, balance_tokens: shard}");
  CHECK(two.find("top_p needs scores") != std::string::npos);
  CHECK(two.find("pooled needs") != std::string::npos);
  CHECK(two.find("test:1") != std::string::npos);
}

TEST_CASE("moe: costs and active parameters are those of the experts that a token goes to") {
  const Moe m("{experts: 8, top_k: 2, expand: 2}");
  const Tensor x = random({2, 6, kWidth}, 1);
  const double rows = 12;
  CHECK(m.forward_cost(x).dense_flops == 2 * rows * kWidth * 8 + 2 * rows * 2 * (3 * 24 * kWidth));
  CHECK(m.store.count() == 8 * 3 * 24 * kWidth + 8 * kWidth);
  CHECK(m.store.active() == 2 * 3 * 24 * kWidth + 8 * kWidth);
  CHECK(m["experts.down.weight"].traits.role == Role::residual);
  CHECK(m["experts.gate_up.weight"].traits.matrices.size() == 16);
}
