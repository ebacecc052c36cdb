#include "mixers/built_mixer.h"
#include "ops/linear.h"
#include "ops/norm.h"
#include "ops/rotary.h"

using namespace effllm;
using namespace effllm::test;

namespace {

constexpr int64_t kD = 24, kHeads = 3, kRank = 10, kNope = 6, kRope = 4, kValue = 5, kQRank = 7;
constexpr std::string_view kYaml = "{type: mla, heads: 3, kv_rank: 10, nope_dim: 6, rope_dim: 4, v_dim: 5";

struct Mla : BuiltMixer {
  explicit Mla(const std::string& more = "}") : BuiltMixer(std::string(kYaml) + more, kD) { shake(0.4); }
};

}  // namespace

TEST_CASE("mla: init, parameters and state are those of the formulas") {
  const BuiltMixer m(std::string(kYaml) + ", q_rank: 7}", kD);
  for (const char* name : {"q_down.weight", "q_up.weight", "kv_down.weight", "kv_up.weight", "out.weight"})
    m.check_deviation(name, 0.006, 0.15);
  for (const char* name : {"q_norm.weight", "kv_norm.weight"}) m.check_free(name, 1);
  const int64_t kv = (kRank + kRope) * kD + kRank + kHeads * (kNope + kValue) * kRank, out = kD * kHeads * kValue,
                queries = kHeads * (kNope + kRope);
  CHECK(m.store.count() == kv + out + kQRank * kD + kQRank + queries * kQRank);
  CHECK(Mla().store.count() == kv + out + queries * kD);
  for (int64_t n : {0, 1, 77}) CHECK(m.bytes(n) == 4 * n * (kRank + kRope));
  const BuiltMixer defaults("{type: mla}", 64);
  CHECK(defaults["kv_down.weight"].shape == Shape{32 + 8, 64});
  CHECK(defaults["q.weight"].shape == Shape{4 * (16 + 8), 64});
  CHECK(defaults["kv_up.weight"].shape == Shape{4 * (16 + 16), 32});
}

TEST_CASE("mla: a sequence decompresses every token once, a decoded token none") {
  constexpr int64_t kT = 9, kRoom = 40;
  const Mla m;
  const auto project = static_cast<double>(kD * (kHeads * (kNope + kRope) + kRank + kRope + kHeads * kValue));
  const auto up = static_cast<double>(kRank * kHeads * (kNope + kValue));
  const double pairs = kT * (kT + 1) / 2.0;
  CHECK(m.forward_cost(random({1, kT, kD}, 1)).dense_flops ==
        2 * (kT * (project + up) + pairs * static_cast<double>(kHeads * (kNope + kRope + kValue))));
  // One token against room for kRoom: the products with W_uk and W_uv once, scores and sums over latent vectors.
  State s = m.mixer->make_state(1, kRoom, DType::f64);
  CHECK(m.step_flops(s, kD) == 2 * (project + up + kRoom * static_cast<double>(kHeads * (kRank + kRope + kRank))));
}

TEST_CASE("mla: the state is the normed latent vector and the rotated key") {
  const Mla m;
  const Tensor x = random({2, 6, kD}, 1);
  State s = m.mixer->make_state(2, 8, DType::f64);
  m.forward(tokens(x, 0, 4), s);
  m.forward(tokens(x, 4, 6), s);
  const Tensor down = linear(x, m["kv_down.weight"].value);
  const Tensor c = rms_norm(down.columns(0, kRank).clone(), m["kv_norm.weight"].value, 1e-6);
  const auto table = std::make_shared<const RotaryTable>(kRope, 10000, 8);
  const Context cx;
  const Site place;
  const Tensor key = rotary(down.columns(kRank, kRope).clone(), Call(cx, place).positions(x), 1, table);
  REQUIRE(s.root().all().size() == 2);  // and the count
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < 6; ++t) {
      for (int64_t i = 0; i < kRank; ++i)
        CHECK(at(s.field(s.root(), "latent"), b * 8 + t, i) == doctest::Approx(at(c, b * 6 + t, i)).epsilon(1e-12));
      for (int64_t i = 0; i < kRope; ++i)
        CHECK(at(s.field(s.root(), "latent"), b * 8 + t, kRank + i) ==
              doctest::Approx(at(key, b * 6 + t, i)).epsilon(1e-12));
    }
}

TEST_CASE("mla: absorbed and plain forms agree, at every cut, also for many new tokens") {
  constexpr int64_t kT = 40;
  for (const char* more : {"}", ", q_rank: 7}"}) {
    const Mla m(more);
    const Tensor x = random({2, kT, kD}, 1), whole = m.forward(x);
    for (int64_t cut : {1, 3, 20, 39}) {
      State s = m.mixer->make_state(2, kT, DType::f64);
      CHECK(max_diff(m.forward(tokens(x, 0, cut), s), tokens(whole, 0, cut)) < 1e-10);
      CHECK(max_diff(m.forward(tokens(x, cut, kT), s), tokens(whole, cut, kT)) < 1e-10);
    }
    State s = m.mixer->make_state(2, kT, DType::f64);
    const Buffer* memory = s.field(s.root(), "latent").buffer();
    for (int64_t t = 0; t < kT; ++t)
      CHECK(max_diff(m.forward(tokens(x, t, t + 1), s), tokens(whole, t, t + 1)) < 1e-10);
    CHECK(s.field(s.root(), "latent").buffer() == memory);  // written in place
    CHECK_THROWS_AS(m.forward(tokens(x, 0, 1), s), ShapeError);
  }
}

TEST_CASE("mla: all see all where the direction allows it") {
  const Mla m;
  const Tensor x = random({1, 5, kD}, 1);
  Context cx;
  cx.direction = Direction::bidirectional;
  CHECK(max_diff(tokens(m.mixer->forward(x, cx), 0, 1), tokens(m.forward(x), 0, 1)) > 1e-4);
  CHECK(max_diff(tokens(m.mixer->forward(x, cx), 4, 5), tokens(m.forward(x), 4, 5)) < 1e-12);
}
