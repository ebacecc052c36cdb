#include "eval/evaluator.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/random.h"
#include "eval/eval_plan.h"
#include "kernels/parallel.h"
#include "support/named.h"
#include "support/tensors.h"

using namespace effllm;

namespace {

constexpr std::string_view kGru =
    "{d_model: 8, init: {std: 0.7}, block: {ffn: {type: mlp}}, layers: [{mixer: {type: min_gru, conv: 3}}]}";
constexpr std::string_view kAttention =
    "{d_model: 8, init: {std: 0.7}, layers: [{mixer: {type: attention, heads: 2}}, {mixer: {type: min_gru}}]}";
constexpr std::string_view kLearned =
    "{d_model: 8, positions: learned, max_tokens: 16, init: {std: 0.7},"
    " layers: [{mixer: {type: attention, heads: 2}}]}";

// Symbols of 1, 2 and 3 bytes, so that tokens and bytes differ.
constexpr std::string_view kSymbols = "abcdé€";

struct Setup {
  std::unique_ptr<Tokenizer> tokenizer = build_tokenizer("char", kSymbols);
  LanguageModel model;
  TokenizedText text;

  explicit Setup(std::string_view yaml, int64_t tokens = 45, DType type = DType::f64, int64_t context = 16)
      : model(read_model_config(parse_config(yaml, "test.yaml"), context), 6) {
    model.params().materialize(3, type);
    const RandomStream random(1, "test.evaluator");
    for (int64_t i = 0; i < tokens; ++i)
      text.tokens.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(i), 6)));
    text.document_starts = {0};
  }
  EvalResult run(const EvalOptions& o) const { return evaluate(model, next_token(), text, *tokenizer, o); }

  // -log p(token `target`) after the tokens [from, target), by one forward pass over them alone.
  double nats(int64_t from, int64_t target) const {
    const auto ids = std::span(text.tokens).subspan(static_cast<size_t>(from), static_cast<size_t>(target - from));
    const Tensor y = model.logits(Tensor::view_of(ids, {1, target - from}), {});
    double largest = -1e300, sum = 0;
    for (int64_t q = 0; q < 6; ++q) largest = std::max(largest, test::at(y, target - from - 1, q));
    for (int64_t q = 0; q < 6; ++q) sum += std::exp(test::at(y, target - from - 1, q) - largest);
    return largest + std::log(sum) - test::at(y, target - from - 1, text.tokens[static_cast<size_t>(target)]);
  }
  int64_t bytes(int64_t from, int64_t to) const {
    int64_t n = 0;
    for (int64_t i = from; i < to; ++i) n += tokenizer->bytes_of(text.tokens[static_cast<size_t>(i)]);
    return n;
  }
};

void check_near(double got, double expected) { CHECK(got == doctest::Approx(expected).epsilon(1e-10)); }

bool same_bits(const EvalResult& a, const EvalResult& b) {
  return std::memcmp(&a.nats, &b.nats, 8) == 0 && std::memcmp(&a.stderr_nats, &b.stderr_nats, 8) == 0 &&
         a.tokens == b.tokens && a.bytes == b.bytes;
}

}  // namespace

TEST_CASE("evaluator: windows score every token but the first, each from the start of its window") {
  const test::Poison poison;
  for (const std::string_view yaml : {kGru, kAttention, kLearned}) {
    const Setup s(yaml);
    double expected = 0;
    for (int64_t t = 1; t < 45; ++t) expected += s.nats((t - 1) / 7 * 7, t);
    for (const int64_t batch : {1, 3, 8}) {
      const EvalResult r = s.run({.protocol = protocol("windows"), .tokens = 7, .batch = batch});
      check_near(r.nats, expected);
      CHECK(r.tokens == 44);  // six windows of 7 and one of 2
      CHECK(r.bytes == s.bytes(1, 45));
      CHECK(r.protocol == "windows");
      CHECK(r.seconds >= 0);
    }
  }
}

TEST_CASE("evaluator: sliding scores each token once, after at least T - s + 1 tokens") {
  for (const std::string_view yaml : {kAttention, kLearned, kGru})
    for (const int64_t stride : {1, 2, 3, 5, 8}) {
      const Setup s(yaml);
      double expected = 0;
      for (int64_t t = 1; t < 45; ++t) {
        const int64_t window = t <= 8 ? 0 : (t - 8 + stride - 1) / stride * stride;
        if (t > 8) REQUIRE(t - window >= 8 - stride + 1);
        expected += s.nats(window, t);
      }
      const EvalResult r = s.run({.protocol = protocol("sliding", stride), .tokens = 8, .batch = 4});
      check_near(r.nats, expected);
      CHECK(r.tokens == 44);
      CHECK(r.bytes == s.bytes(1, 45));
    }
  const Setup s(kAttention);
  // A stride of T is `windows`; 0 is half of T.
  CHECK(s.run({.protocol = protocol("sliding", 8), .tokens = 8}).nats == s.run({.tokens = 8}).nats);
  CHECK(s.run({.protocol = protocol("sliding"), .tokens = 8}).nats ==
        s.run({.protocol = protocol("sliding", 4), .tokens = 8}).nats);
}

TEST_CASE("evaluator: carried is one whole forward, however it is cut") {
  for (const std::string_view yaml : {kGru, kAttention}) {
    const Setup s(yaml);
    double expected = 0;
    for (int64_t t = 1; t < 45; ++t) expected += s.nats(0, t);
    for (const int64_t tokens : {1, 7, 44, 100}) {
      const EvalResult r = s.run({.protocol = protocol("carried"), .tokens = tokens});
      check_near(r.nats, expected);
      CHECK(r.tokens == 44);
    }
    CHECK(std::abs(s.run({.tokens = 4}).nats - expected) > 1e-6);
  }
}

TEST_CASE("evaluator: documents end the context, and their first tokens are not scored") {
  Setup s(kAttention);
  s.text.document_starts = {0, 9, 14, 15, 31};
  const auto start_of = [&](int64_t t) {
    int64_t from = 0;
    for (int64_t d : s.text.document_starts) from = d <= t ? d : from;
    return from;
  };
  double carried = 0, windows = 0;
  int64_t counted = 0, bytes = 0;
  for (int64_t t = 1; t < 45; ++t) {
    if (start_of(t) == t) continue;
    ++counted, bytes += s.bytes(t, t + 1);
    carried += s.nats(start_of(t), t);
    windows += s.nats(std::max(start_of(t), (t - 1) / 7 * 7), t);
  }
  CHECK(counted == 40);
  for (const std::string name : {"carried", "windows"}) {
    const EvalResult r = s.run({.protocol = protocol(name), .tokens = 7, .reset_documents = true});
    check_near(r.nats, name == "carried" ? carried : windows);
    CHECK(r.tokens == counted);
    CHECK(r.bytes == bytes);
  }
  CHECK(s.run({.protocol = protocol("sliding", 3), .tokens = 7, .reset_documents = true}).tokens == counted);
}

TEST_CASE("evaluator: max_tokens scores the first so many targets") {
  const Setup s(kGru);
  for (const std::string name : {"windows", "sliding", "carried"}) {
    Setup shorter = Setup(kGru);
    shorter.text.tokens.resize(21);
    const EvalResult r = s.run({.protocol = protocol(name), .tokens = 8, .max_tokens = 20});
    CHECK(r.tokens == 20);
    CHECK(r.nats == shorter.run({.protocol = protocol(name), .tokens = 8}).nats);
    CHECK(s.run({.protocol = protocol(name), .tokens = 8, .max_tokens = 1000}).tokens == 44);
  }
}

TEST_CASE("evaluator: the number of threads changes no bit") {
  const int before = threads();
  for (const DType type : {DType::f32, DType::f64}) {
    const Setup s(kAttention, 700, type);
    for (const std::string name : {"windows", "sliding", "carried"}) {
      const EvalOptions o{.protocol = name == "sliding" ? protocol(name, 5) : protocol(name), .tokens = 16, .batch = 3};
      set_threads(1);
      const EvalResult one = s.run(o);
      for (const int n : {2, 3, 5}) {
        set_threads(n);
        CHECK(same_bits(s.run(o), one));
      }
      CHECK(std::isfinite(one.nats));
      CHECK(one.stderr_nats > 0);
    }
  }
  set_threads(before);
}

// Causally r above 0 chooses; in training half of a window.
constexpr std::string_view kMod =
    "{d_model: 8, init: {std: 0.7}, layers: [{type: mod, capacity: 0.5, causal: aux, mixer: {type: min_gru}},"
    " {mixer: {type: min_gru}}]}";

TEST_CASE("evaluator: training's choice of tokens is a figure of its own, with what layers measure") {
  const Setup s(kMod);
  const EvalOptions causal{.tokens = 7, .batch = 2};
  EvalOptions ahead = causal;
  ahead.training_choice = true;
  const EvalResult usual = s.run(causal), other = s.run(ahead);
  double expected = 0;
  for (int64_t t = 1; t < 45; ++t) expected += s.nats((t - 1) / 7 * 7, t);
  check_near(usual.nats, expected);
  CHECK(usual.layers.empty());
  double trained = 0;
  Context cx;
  cx.phase = Phase::train;
  for (int64_t from = 0; from < 44; from += 7) {
    const int64_t n = std::min<int64_t>(7, 44 - from);
    const auto all = std::span<const int32_t>(s.text.tokens);
    const auto at = [&](int64_t first) {
      return Tensor::view_of(all.subspan(static_cast<size_t>(first), static_cast<size_t>(n)), {1, n});
    };
    trained += *s.model.loss(at(from), at(from + 1), 1, cx).data<double>();
  }
  check_near(other.nats, trained);
  CHECK(std::abs(other.nats - usual.nats) > 1e-3);
  const auto row = [&](const EvalResult& r, std::string_view name) {
    const auto found = std::ranges::find(r.layers, name, &Measured::name);
    REQUIRE(found != r.layers.end());
    return found->value;
  };
  CHECK(row(other, "layers.0.agreement") > 0);
  CHECK(row(other, "layers.0.agreement") < 1);
  CHECK(row(other, "layers.0.causal_chosen") == row(other, "layers.0.router_positive"));
  const int before = threads();
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    const EvalResult again = s.run(ahead);
    CHECK(same_bits(again, other));
    for (const Measured& m : other.layers) CHECK(row(again, m.name) == m.value);
  }
  set_threads(before);
}

TEST_CASE("evaluator: derived numbers follow from nats, tokens, characters and bytes") {
  EvalResult r;
  r.nats = 100 * std::log(2), r.tokens = 50, r.bytes = 80, r.characters = 40;
  check_near(r.nats_per_token(), 2 * std::log(2));
  check_near(r.bits_per_char(), 2.5);
  check_near(r.bits_per_byte(), 1.25);
  check_near(r.perplexity(), 4);
}

TEST_CASE("evaluator: a model that knows nothing needs log2 of its vocabulary") {
  const Setup s("{d_model: 8, init: {std: 0}, layers: [{mixer: {type: min_gru}}]}");
  const EvalResult r = s.run({.tokens = 7});
  check_near(r.bits_per_char(), std::log2(6));
  check_near(r.bits_per_byte(), 44 * std::log2(6) / static_cast<double>(s.bytes(1, 45)));
  CHECK(r.stderr_nats < 1e-12);
}

TEST_CASE("evaluator: bits per character are those of the text, whether a token is a byte or a character") {
  const auto bytes = build_tokenizer("byte", "");
  LanguageModel model(read_model_config(parse_config(std::string(kGru), "test.yaml"), 16), 256);
  model.params().materialize(3, DType::f64);
  TokenizedText text;
  text.tokens = bytes->encode("abé€de€é");  // after the first, 7 characters of 13 bytes
  text.document_starts = {0};
  const EvalResult r = evaluate(model, next_token(), text, *bytes, {.tokens = 5});
  CHECK(r.tokens == 13);
  CHECK(r.bytes == 13);
  CHECK(r.characters == 7);
  check_near(r.bits_per_char(), r.bits_per_byte() * 13 / 7);
  const Setup s(kGru);
  const EvalResult c = s.run({.tokens = 7});
  CHECK(c.characters == c.tokens);
}

TEST_CASE("evaluator: the standard error is that of the windows' means") {
  const Setup s(kGru, 29);  // four windows of 7 targets
  std::vector<double> means;
  double mean = 0, squares = 0;
  for (int64_t w = 0; w < 4; ++w) {
    double nats = 0;
    for (int64_t t = 7 * w + 1; t <= 7 * w + 7; ++t) nats += s.nats(7 * w, t);
    means.push_back(nats / 7);
    mean += nats / 28;
  }
  for (double m : means) squares += (m - mean) * (m - mean);
  check_near(s.run({.tokens = 7}).stderr_nats, std::sqrt(squares / 3 / 4));
  CHECK(std::isnan(s.run({.tokens = 40, .max_tokens = 28}).stderr_nats));  // one window: unknown
}

TEST_CASE("evaluator: nothing is recorded, though the caller's tape records") {
  const Setup s(kGru);
  Tape tape;
  const Tape::Recording recording(tape);
  s.run({.tokens = 7, .batch = 100});
  s.run({.protocol = protocol("carried"), .tokens = 7});
  CHECK(tape.size() == 0);
}

TEST_CASE("evaluator: bad protocols, sizes and splits are refused with advice") {
  const Setup s(kGru), learned(kLearned);
  CHECK_THROWS_WITH_AS(protocol("slidng"), doctest::Contains("Did you mean `sliding`?"), ConfigError);
  CHECK_THROWS_WITH_AS(protocol("windows", 3), doctest::Contains("protocol `windows` has no option `stride`"),
                       ConfigError);
  CHECK_THROWS_AS(s.run({.tokens = 0}), ConfigError);
  CHECK_THROWS_AS(s.run({.batch = 0}), ConfigError);
  CHECK_THROWS_AS(s.run({.max_tokens = -1}), ConfigError);
  CHECK_THROWS_AS(s.run({.protocol = protocol("sliding", 9), .tokens = 8}), ConfigError);
  CHECK_THROWS_AS(protocol("sliding", 0), ConfigError);
  CHECK_THROWS_WITH_AS(learned.run({.protocol = protocol("carried"), .tokens = 8}),
                       doctest::Contains("choose `windows`"), ConfigError);
  CHECK_THROWS_WITH_AS(learned.run({.tokens = 17}), doctest::Contains("at most 16 tokens"), ConfigError);
  CHECK_NOTHROW(learned.run({.tokens = 16}));
  CHECK_THROWS_AS(evaluate(s.model, next_token(), s.text, *build_tokenizer("byte", ""), {}), ConfigError);

  Setup bad(kGru);
  bad.text.tokens = {3};
  CHECK_THROWS_AS(bad.run({}), DataError);
  bad.text.tokens = {};
  CHECK_THROWS_AS(bad.run({}), DataError);
  bad.text.tokens = {0, 1, 6};
  CHECK_THROWS_AS(bad.run({}), DataError);
  bad.text.tokens = {0, 1, 2};
  bad.text.document_starts = {0, 1, 2};
  CHECK_THROWS_AS(bad.run({.reset_documents = true}), DataError);
  CHECK_NOTHROW(bad.run({}));
}

TEST_CASE("evaluator: what is beyond the text is cut down to it, and the result is the same") {
  const Setup s(kGru);
  const auto n = static_cast<int64_t>(s.text.tokens.size());
  for (const EvalOptions& asked : {EvalOptions{.tokens = 1 << 20, .max_tokens = 1 << 30},
                                   EvalOptions{.protocol = protocol("sliding", n), .tokens = n + 5},
                                   EvalOptions{.protocol = protocol("carried"), .tokens = n, .max_tokens = n - 1}}) {
    const EvalOptions o = fitted(asked, n);
    CHECK(o.tokens == n - 1);
    CHECK(o.max_tokens == 0);
    CHECK(stride_of(o) <= o.tokens);
    const EvalResult a = evaluate(s.model, next_token(), s.text, *s.tokenizer, asked),
                     b = evaluate(s.model, next_token(), s.text, *s.tokenizer, o);
    CHECK(a.nats == b.nats);
    CHECK(a.tokens == b.tokens);
    CHECK(describe(o).find("first") == std::string::npos);
  }
  const EvalOptions within = {.protocol = protocol("sliding", 2), .tokens = n - 1, .max_tokens = n - 2};
  CHECK(describe(fitted(within, n)) == describe(within));
  CHECK(describe(EvalOptions{.tokens = 1, .max_tokens = 1}) == "windows of 1 token, first 1 target");
}

TEST_CASE("evaluator: protocols are listed, and a setting reads as a sentence") {
  const Setup s(kGru);
  for (const ProtocolInfo* p : all_protocols) {
    CHECK(!p->title.empty());
    CHECK(s.run({.protocol = protocol(p->name), .tokens = 8}).protocol == p->name);
  }
  CHECK(describe({.tokens = 64}) == "windows of 64 tokens");
  CHECK(describe({.protocol = protocol("sliding"), .tokens = 64}) == "sliding windows of 64 tokens, stride 32");
  CHECK(describe({.protocol = protocol("carried"), .max_tokens = 5, .reset_documents = true}) ==
        "one pass, state carried, reset at documents, first 5 targets");
}
