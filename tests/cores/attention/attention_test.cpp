#include "cores/attention/attention.h"

#include <filesystem>

#include "autodiff/meter.h"
#include "cores/attention/reference_attention.h"
#include "ops/op_checks.h"
#include "store/safetensors.h"
#include "support/close.h"
#include "support/paths.h"

using namespace effllm;
using namespace effllm::test;

namespace {

struct Setting {
  const char* name;
  AttentionOptions options;
  AttentionPlaces places{};
};

// For B = 2, T = 6, S = 9.
std::vector<Setting> settings() {
  const Tensor offsets = integers({2}, {3, 1}), gaps = integers({2}, {0, 7});
  const Tensor segments = integers({2, 6}, {0, 0, 1, 1, 1, 2, 1, 1, 1, 2, 2, 2});
  return {
      {"MHA", {.heads = 4, .kv_heads = 4}},
      {"GQA", {.heads = 4, .kv_heads = 2, .chunk = 4}},
      {"MQA, ALiBi", {.heads = 4, .kv_heads = 1, .alibi = true}},
      {"window, sinks", {.heads = 4, .kv_heads = 2, .window = 3, .sinks = 1}},
      {"places",
       {.heads = 4, .kv_heads = 2, .scale = 0.7, .window = 4, .sinks = 1, .alibi = true},
       {offsets, gaps, {}}},
      {"documents", {.heads = 4, .kv_heads = 2}, {offsets, {}, segments}},
      {"bidirectional documents", {.heads = 4, .kv_heads = 2, .causal = false}, {offsets, {}, segments}},
      {"documents, window, sinks, ALiBi, dropout",
       {.heads = 4, .kv_heads = 2, .window = 3, .sinks = 1, .alibi = true, .dropout = 0.3, .drop_key = {1, 2}},
       {offsets, {}, segments}},
      {"bidirectional", {.heads = 4, .kv_heads = 4, .causal = false, .window = 3}, {offsets, {}, {}}},
      {"prefix", {.heads = 4, .kv_heads = 2}, {offsets, {}, {}, integers({2}, {4, 1})}},
      {"prefix of documents, window, ALiBi",
       {.heads = 4, .kv_heads = 2, .window = 3, .alibi = true},
       {offsets, {}, segments, integers({2}, {4, 6})}},
      {"blocks", {.heads = 4, .kv_heads = 2, .causal = false, .alibi = true, .block = 4}, {offsets, {}, {}}},
      {"dropout", {.heads = 4, .kv_heads = 2, .dropout = 0.4, .drop_key = {5, 6}, .samples = 9}, {offsets, {}, {}}},
  };
}

struct Inputs {
  Tensor q, k, v;
  Inputs(const AttentionOptions& o, int64_t t, int64_t s, DType type = DType::f64, int64_t b = 2, int64_t dk = 3,
         int64_t dv = 5)
      : q(random({b, t, o.heads * dk}, 1, type)),
        k(random({b, s, o.kv_heads * dk}, 2, type)),
        v(random({b, s, o.kv_heads * dv}, 3, type)) {}
};

}  // namespace

TEST_CASE("attention: gradients of q, k and v in every setting") {
  Poison poison;
  for (const Setting& s : settings()) {
    CAPTURE(s.name);
    const Inputs x(s.options, 6, 9);
    const auto f = [&](const Tensors& in) { return Tensors{attention(in[0], in[1], in[2], s.options, s.places)}; };
    CHECK(gradient_error(f, {x.q, x.k, x.v}) < 1e-7);
  }
}

TEST_CASE("attention: the reference's values in f64 and nearly so in f32") {
  Poison poison;
  for (const Setting& s : settings()) {
    CAPTURE(s.name);
    const Inputs x(s.options, 6, 9);
    const Tensor expected = reference_attention(x.q, x.k, x.v, s.options, s.places);
    CHECK(max_diff(attention(x.q, x.k, x.v, s.options, s.places), expected) < 1e-13);
    const Inputs y(s.options, 6, 9, DType::f32);
    CHECK(max_diff(attention(y.q, y.k, y.v, s.options, s.places), expected) < 5e-6);
  }
}

TEST_CASE("attention: clean and noisy tokens see what block diffusion lets them see, and so do gradients") {
  Poison poison;
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(kSourceDir) / "tests/golden")) {
    if (!entry.path().filename().string().starts_with("block_diffusion.")) continue;
    ++found;
    const SafetensorsFile file(entry.path());
    const std::string& options = file.metadata().at("options");
    const auto* sees = reinterpret_cast<const int32_t*>(file.find("sees")->data);
    const auto* of_documents = reinterpret_cast<const int32_t*>(file.find("sees_documents")->data);
    std::vector<int64_t> segments(24);
    for (int64_t i = 0; i < 24; ++i)
      segments[static_cast<size_t>(i)] = reinterpret_cast<const int64_t*>(file.find("segments")->data)[i % 12];
    const AttentionOptions o{.heads = 1,
                             .kv_heads = 1,
                             .causal = false,
                             .block = std::stoll(options.substr(options.find("block: ") + 7)),
                             .noisy = true};
    CAPTURE(options);
    const Tensor zero = Tensor::zeros({1, 24, 2}, DType::f64), values = Tensor::zeros({1, 24, 24}, DType::f64);
    for (int64_t j = 0; j < 24; ++j) put(values, j, j, 1);  // what is seen is seen in the result
    for (const bool documents : {false, true}) {
      AttentionPlaces places;
      if (documents) places.segments = integers({1, 24}, segments);
      const Tensor y = attention(zero, zero, values, o, places);
      const int32_t* expected = documents ? of_documents : sees;
      bool same = true;
      for (int64_t i = 0; i < 24; ++i)
        for (int64_t j = 0; j < 24; ++j) same = same && (at(y, i, j) > 0) == (expected[i * 24 + j] == 1);
      CHECK(same);
    }
  }
  CHECK(found == 5);
  const AttentionOptions o{
      .heads = 4, .kv_heads = 2, .causal = false, .window = 4, .alibi = true, .block = 3, .noisy = true};
  const Inputs x(o, 10, 10);
  const auto f = [&](const Tensors& in) { return Tensors{attention(in[0], in[1], in[2], o)}; };
  CHECK(gradient_error(f, {x.q, x.k, x.v}) < 1e-7);
  const Inputs y(o, 140, 140, DType::f32, 2, 16, 8);
  expect_same_bits_on_threads(f, {y.q, y.k, y.v});
}

TEST_CASE("attention: keys after the tokens of the call are never seen") {
  for (const bool causal : {true, false}) {
    const AttentionOptions o{.heads = 2, .kv_heads = 2, .causal = causal};
    const Inputs x(o, 3, 9);
    const Tensor offsets = integers({2}, {2, 4});
    const Tensor before = attention(x.q, x.k, x.v, o, {offsets, {}, {}});
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t j = (b ? 4 : 2) + 3; j < 9; ++j)
        for (int64_t c = 0; c < x.k.cols(); ++c) put(x.k, b * 9 + j, c, std::nan(""));
    CHECK(same_bits(attention(x.q, x.k, x.v, o, {offsets, {}, {}}), before));
  }
}

TEST_CASE("attention: changing the future leaves the past bit-identical") {
  for (const DType type : {DType::f32, DType::f64})
    for (const int64_t window : {0, 7}) {
      const AttentionOptions o{.heads = 2, .kv_heads = 1, .window = window, .sinks = 2};
      const Inputs x(o, 70, 70, type, 1);
      const Tensor before = attention(x.q, x.k, x.v, o);
      for (int64_t t = 37; t < 70; ++t)
        for (const Tensor& y : {x.q, x.k, x.v})
          for (int64_t c = 0; c < y.cols(); ++c) put(y, t, c, -1000 * at(y, t, c));
      const Tensor after = attention(x.q, x.k, x.v, o);
      CHECK(same_bits(tokens(before, 0, 37), tokens(after, 0, 37)));
      CHECK_FALSE(same_bits(before, after));
    }
}

TEST_CASE("attention: forward and gradients have the same bits for any number of threads") {
  const AttentionOptions o{.heads = 4, .kv_heads = 2, .dropout = 0.1, .drop_key = {3, 4}};
  const Inputs x(o, 50, 50, DType::f32, 2, 16, 8);
  const auto f = [&](const Tensors& in) { return Tensors{attention(in[0], in[1], in[2], o)}; };
  expect_same_bits_on_threads(f, {x.q, x.k, x.v});
}

TEST_CASE("attention: dropout keeps 1 - p of the probabilities and depends on the sample's own number") {
  AttentionOptions o{.heads = 1, .kv_heads = 1, .causal = false, .dropout = 0.25, .drop_key = {8, 9}};
  const Tensor zero = Tensor::zeros({2, 64, 4}, DType::f64), one = Tensor::full({2, 64, 1}, DType::f64, 1);
  const Tensor y = attention(zero, zero, one, o);
  double mean = 0;
  for (int64_t r = 0; r < 128; ++r) mean += at(y, r, 0) / 128;
  CHECK(std::abs(mean - 1) < 0.03);
  o.samples = 1;
  const Tensor next = attention(zero, zero, one, o);
  CHECK(same_bits(next.row_range(0, {1, 64, 1}), y.row_range(64, {1, 64, 1})));
}

TEST_CASE("attention: costs are four and ten widths for each visible pair") {
  const AttentionOptions causal{.heads = 2, .kv_heads = 1}, window{.heads = 2, .kv_heads = 1, .window = 3, .sinks = 1};
  CHECK(attention_pairs(5, 5, causal) == 15);
  CHECK(attention_pairs(2, 5, causal) == 4 + 5);
  CHECK(attention_pairs(6, 6, window) == 1 + 2 + 3 + 4 + 4 + 4);
  CHECK(attention_pairs(5, 5, {.causal = false}) == 25);
  CHECK(attention_pairs(5, 5, {.causal = false, .window = 2, .sinks = 1}) == 2 + 3 + 4 + 4 + 3);
  CHECK(attention_pairs(4, 4, {.causal = false, .window = 1, .sinks = 3}) == 3 + 3 + 3 + 4);
  CHECK(attention_pairs(5, 5, {.causal = false, .block = 2}) == 2 + 2 + 4 + 4 + 5);
  CHECK(attention_pairs(3, 7, {.causal = false, .block = 4}) == 7 + 7 + 7);
  CHECK(attention_pairs(10, 10, {.causal = false, .block = 2, .noisy = true}) == 2 * (2 + 2 + 4 + 4 + 5));
  CHECK(attention_pairs(10, 10, {.causal = false, .window = 2, .block = 2, .noisy = true}) == 2 * (2 + 2 + 3 + 2 + 2));
  {
    Meter meter;
    const Tensor x = random({3, 5, 8}, 1), kv = random({3, 5, 4}, 2);
    attention(x, kv, kv, causal, {{}, {}, {}, integers({3}, {5, 2, 0})});
    CHECK(meter.total.forward_flops == 4.0 * 4 * (25 + 16 + 15) * 2);
  }
  const auto with_prefix = [](const AttentionOptions& o, const Tensor& prefix) {
    const MetaMode on_shapes;
    Meter meter;
    const Tensor q = Tensor::empty({1, 6, 8}, DType::f64), k = Tensor::empty({1, 6, 4}, DType::f64);
    attention(q, k, k, o, {{}, {}, {}, prefix});
    return meter.total.forward_flops / (4.0 * 4 * 2);
  };
  // Of the keys after its own a query sees those of the window, and sinks behind it.
  const AttentionOptions sinks{.heads = 2, .kv_heads = 1, .window = 2, .sinks = 5};
  CHECK(with_prefix(window, integers({1}, {5})) == attention_pairs(6, 6, window) + 2 + 2 + 2 + 1);
  CHECK(with_prefix(sinks, integers({1}, {6})) == attention_pairs(6, 6, sinks) + 4 + 3 + 2 + 1 + 1);
  for (const AttentionOptions& o : {causal, window, sinks}) {
    double mean = 0;
    for (int64_t n = 1; n <= 6; ++n) mean += with_prefix(o, integers({1}, {n})) / 6;
    const MetaMode on_shapes;
    CHECK(with_prefix(o, Tensor::dense({1}, DType::i64)) == doctest::Approx(mean).epsilon(1e-12));
  }
  const MetaMode meta;
  Meter meter;
  const Tensor x = Tensor::empty({3, 5, 8}, DType::f32), kv = Tensor::empty({3, 5, 4}, DType::f32);
  attention(x, kv, kv, causal);
  CHECK(meter.total.forward_flops == 4.0 * 4 * 15 * 2 * 3);
  CHECK(meter.total.backward_flops == 10.0 * 4 * 15 * 2 * 3);
}

TEST_CASE("attention: slopes of ALiBi, also for heads that are no power of two") {
  CHECK(close(alibi_slope(0, 8), 0.5, 1e-15));
  CHECK(close(alibi_slope(7, 8), 1.0 / 256, 1e-15));
  CHECK(close(alibi_slope(3, 6), 1.0 / 256, 1e-15));
  CHECK(close(alibi_slope(4, 6), 0.5, 1e-15));
  CHECK(close(alibi_slope(5, 6), 0.125, 1e-15));
}

TEST_CASE("attention: inputs that don't fit are refused") {
  const AttentionOptions o{.heads = 4, .kv_heads = 2};
  const Inputs x(o, 6, 9);
  CHECK_THROWS_WITH_AS(attention(x.q, x.k, x.v, {.heads = 4, .kv_heads = 3}),
                       "attention: 4 heads can't share 3 key-value heads", ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.q, x.v, o), ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.k, random({2, 8, 10}, 1), o), ShapeError);
  CHECK_THROWS_AS(attention(x.k, x.q, x.q, {.heads = 2, .kv_heads = 2}), ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.k, to_dtype(x.v, DType::f32), o), ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, {.heads = 4, .kv_heads = 2, .dropout = 1}), ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, o, {integers({2}, {0, 4}), {}, {}}), ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, o, {integers({1}, {0}), {}, {}}), ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, o, {{}, {}, integers({2, 1}, {0, 0})}), ShapeError);
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, o, {{}, {}, {}, integers({2}, {0, 7})}), ShapeError);
  const Inputs y(o, 6, 6), odd(o, 5, 5);
  const auto blocks = [&](const Inputs& in, bool causal, int64_t sinks) {
    attention(in.q, in.k, in.v,
              {.heads = 4, .kv_heads = 2, .causal = causal, .window = 4, .sinks = sinks, .block = 2, .noisy = true});
  };
  blocks(y, false, 0);
  CHECK_THROWS_AS(blocks(y, true, 0), ShapeError);
  CHECK_THROWS_AS(blocks(y, false, 1), ShapeError);
  CHECK_THROWS_AS(blocks(odd, false, 0), ShapeError);
  CHECK_THROWS_AS(blocks(x, false, 0), ShapeError);
}

namespace {

// 9 queries and 6 keys of 2 sequences: query t of sequence b sees the keys [from(b, t), to(b, t)) and no others.
void expect_seen(const Inputs& x, const Tensor& y, const std::function<int64_t(int64_t, int64_t)>& from,
                 const std::function<int64_t(int64_t, int64_t)>& to) {
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t t = 0; t < 9; ++t)
      for (int64_t h = 0; h < 4; ++h) {
        std::vector<double> p;
        double sum = 0;
        for (int64_t s = from(b, t); s < to(b, t); ++s) {
          double score = 0;
          for (int64_t c = 0; c < 3; ++c) score += at(x.q, b * 9 + t, h * 3 + c) * at(x.k, b * 6 + s, h / 2 * 3 + c);
          p.push_back(std::exp(score / std::sqrt(3.0)));
          sum += p.back();
        }
        for (int64_t c = 0; c < 5; ++c) {
          double expected = 0;
          for (size_t s = 0; s < p.size(); ++s)
            expected += p[s] / sum * at(x.v, b * 6 + from(b, t) + static_cast<int64_t>(s), h / 2 * 5 + c);
          CHECK(std::abs(at(y, b * 9 + t, h * 5 + c) - expected) < 1e-13);
        }
      }
}

}  // namespace

TEST_CASE("attention: keys that queries do not stand among are all seen, as many as a sequence has") {
  const Poison poison;
  const AttentionOptions o{.heads = 4, .kv_heads = 2, .causal = false, .chunk = 4};
  AttentionPlaces places;
  places.lengths = integers({2}, {1, 5});
  const Inputs x(o, 9, 6);  // more queries than keys
  expect_seen(
      x, attention(x.q, x.k, x.v, o, places), [](int64_t, int64_t) { return 0; },
      [](int64_t b, int64_t) { return b ? 5 : 1; });
  const auto f = [&](const Tensors& in) { return Tensors{attention(in[0], in[1], in[2], o, places)}; };
  CHECK(gradient_error(f, {x.q, x.k, x.v}) < 1e-7);
  for (const int64_t length : {0, 7}) {
    places.lengths = integers({2}, {1, length});
    CHECK_THROWS_AS(attention(x.q, x.k, x.v, o, places), ShapeError);
  }
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, {.heads = 4, .kv_heads = 2}, places), ShapeError);
}

TEST_CASE("attention: each query sees the range of keys that is its own, or nothing") {
  const Poison poison;
  const AttentionOptions o{.heads = 4, .kv_heads = 2, .causal = false, .in_range = 2.5, .chunk = 4};
  const Inputs x(o, 9, 6);
  const auto from = [](int64_t b, int64_t t) { return b ? t / 3 : 0; };
  const auto to = [](int64_t b, int64_t t) { return b ? t / 3 + t % 4 : (2 * t) % 7; };
  AttentionPlaces places;
  std::vector<int64_t> ends;
  for (int64_t row = 0; row < 18; ++row) ends.insert(ends.end(), {from(row / 9, row % 9), to(row / 9, row % 9)});
  places.ranges = integers({2, 9, 2}, ends);
  {
    Meter meter;
    expect_seen(x, attention(x.q, x.k, x.v, o, places), from, to);
    CHECK(meter.total.forward_flops == 2.0 * (3 + 5) * 18 * 2.5 * 4);
  }
  const auto f = [&](const Tensors& in) { return Tensors{attention(in[0], in[1], in[2], o, places)}; };
  CHECK(gradient_error(f, {x.q, x.k, x.v}) < 1e-7);
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, {.heads = 4, .kv_heads = 2}, places), ShapeError);
  ends[4] = 7;
  places.ranges = integers({2, 9, 2}, ends);
  CHECK_THROWS_AS(attention(x.q, x.k, x.v, o, places), ShapeError);
}
