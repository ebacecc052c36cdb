#include "cores/attention/selected_attention.h"

#include "base/random.h"
#include "cores/attention/attention.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// n different blocks out of `count` for each token and key-value head, now and then fewer.
Tensor drawn_blocks(int64_t b, int64_t t, int64_t groups, int64_t n, int64_t count) {
  const Tensor blocks = Tensor::dense({b, t, groups * n}, DType::i64);
  const RandomStream numbers(3, "blocks");
  for (int64_t i = 0; i < b * t * groups; ++i) {
    const auto first = static_cast<int64_t>(numbers.below(static_cast<uint64_t>(i), static_cast<uint64_t>(count)));
    for (int64_t j = 0; j < n; ++j) blocks.data<int64_t>()[i * n + j] = i % 7 == 6 && j > 0 ? -1 : (first + j) % count;
  }
  return blocks;
}

// By definition: a softmax over the keys of the named blocks, one entry at a time.
Tensor plain(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& blocks, const SelectedAttentionOptions& o,
             int64_t offset, const Tensor& segments) {
  const int64_t dk = q.cols() / o.heads, dv = v.cols() / o.kv_heads, n = blocks.cols() / o.kv_heads, t = q.dim(1);
  const Tensor out = Tensor::zeros({q.dim(0), t, o.heads * dv}, DType::f64);
  const auto document = [&](int64_t b, int64_t key) {
    return segments.defined() && key >= offset ? segments.data<int64_t>()[b * t + key - offset] : 0;
  };
  for (int64_t b = 0; b < q.dim(0); ++b)
    for (int64_t i = 0; i < t; ++i)
      for (int64_t h = 0; h < o.heads; ++h) {
        const int64_t g = h * o.kv_heads / o.heads, row = b * t + i;
        double sum = 0;
        for (int64_t l = 0; l < n; ++l) {
          const int64_t c = blocks.data<int64_t>()[row * blocks.cols() + g * n + l];
          int64_t first = offset + i;  // of the document
          while (first > 0 && document(b, first - 1) == document(b, offset + i)) --first;
          for (int64_t j = first + c * o.block; c >= 0 && j < first + (c + 1) * o.block && j <= offset + i; ++j) {
            double s = 0;
            for (int64_t x = 0; x < dk; ++x) s += at(q, row, h * dk + x) * at(k, b * k.dim(1) + j, g * dk + x);
            const double e = std::exp(s * (o.scale != 0 ? o.scale : 1 / std::sqrt(static_cast<double>(dk))));
            sum += e;
            for (int64_t x = 0; x < dv; ++x)
              put(out, row, h * dv + x, at(out, row, h * dv + x) + e * at(v, b * k.dim(1) + j, g * dv + x));
          }
        }
        for (int64_t x = 0; x < dv && sum > 0; ++x) put(out, row, h * dv + x, at(out, row, h * dv + x) / sum);
      }
  return out;
}

struct Setting {
  SelectedAttentionOptions options;
  int64_t tokens, keys, n;
  Tensor segments = {};
};
std::vector<Setting> settings() {
  const Tensor documents = integers({2, 9}, {0, 0, 0, 1, 1, 1, 1, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1});
  return {{{.heads = 4, .kv_heads = 2, .block = 3}, 9, 9, 2},
          {{.heads = 4, .kv_heads = 2, .block = 3}, 9, 14, 3},
          {{.heads = 6, .kv_heads = 1, .block = 4, .scale = 0.3}, 9, 9, 2},
          {{.heads = 2, .kv_heads = 2, .block = 1}, 9, 11, 4},
          {{.heads = 4, .kv_heads = 2, .block = 3}, 5, 12, 3},
          {{.heads = 4, .kv_heads = 2, .block = 3}, 5, 7, 3, integers({2, 5}, {0, 0, 1, 1, 1, 1, 1, 1, 1, 1})},
          {{.heads = 4, .kv_heads = 2, .block = 3}, 9, 12, 3, documents}};
}

struct Inputs {
  Tensor q, k, v, blocks;
  explicit Inputs(const Setting& s, DType type = DType::f64)
      : q(random({2, s.tokens, s.options.heads * 3}, 1, type)),
        k(random({2, s.keys, s.options.kv_heads * 3}, 2, type)),
        v(random({2, s.keys, s.options.kv_heads * 5}, 3, type)),
        blocks(drawn_blocks(2, s.tokens, s.options.kv_heads, s.n, (s.keys + s.options.block - 1) / s.options.block)) {}
};

}  // namespace

TEST_CASE("selected_attention: a softmax over the named blocks, by definition, in f64 and nearly so in f32") {
  const Poison poison;
  for (const Setting& s : settings()) {
    const Inputs x(s), y(s, DType::f32);
    const Tensor expected = plain(x.q, x.k, x.v, x.blocks, s.options, s.keys - s.tokens, s.segments);
    CHECK(max_diff(selected_attention(x.q, x.k, x.v, x.blocks, s.options, {}, s.segments), expected) < 1e-13);
    CHECK(max_diff(selected_attention(y.q, y.k, y.v, y.blocks, s.options, {}, s.segments), expected) < 5e-6);
  }
}

TEST_CASE("selected_attention: gradients of q, k and v") {
  const Poison poison;
  for (const Setting& s : settings()) {
    const Inputs x(s);
    const auto f = [&](const Tensors& in) {
      return std::vector{selected_attention(in[0], in[1], in[2], x.blocks, s.options, {}, s.segments)};
    };
    CHECK(gradient_error(f, {x.q, x.k, x.v}) < 1e-7);
  }
}

TEST_CASE("selected_attention: any split gives the same, any number of threads the same bits") {
  const Setting s = settings()[0];
  const Inputs x(s, DType::f32);
  const auto f = [&](const Tensors& in) {
    return std::vector{selected_attention(in[0], in[1], in[2], x.blocks, s.options)};
  };
  expect_same_bits_on_threads(f, {x.q, x.k, x.v});
  const Tensor whole = selected_attention(x.q, x.k, x.v, x.blocks, s.options);
  for (int64_t cut = 1; cut < 9; ++cut) {
    const Tensor late = Tensor::dense({2, 9 - cut, x.blocks.cols()}, DType::i64);
    for (int64_t b = 0; b < 2; ++b)
      std::copy_n(x.blocks.data<int64_t>() + (b * 9 + cut) * x.blocks.cols(), late.numel() / 2,
                  late.data<int64_t>() + b * late.numel() / 2);
    const Tensor part = selected_attention(tokens(x.q, cut, 9), x.k, x.v, late, s.options);
    if (cut == 1)  // the same way of computing; few tokens go another
      CHECK(same_bits(part, tokens(whole, cut, 9)));
    CHECK(max_diff(part, tokens(whole, cut, 9)) < 2e-6);
  }
}

TEST_CASE("selected_attention: many queries of a block, forward and backward, equal attention where all are named") {
  constexpr int64_t kT = 70, kBlocks = 9;
  for (const auto& [heads, groups] : {std::pair{6, 1}, {4, 4}}) {
    const SelectedAttentionOptions o{.heads = heads, .kv_heads = groups, .block = 8};
    const Tensor q = random({1, kT, heads * 3}, 1), k = random({1, kT, groups * 3}, 2),
                 v = random({1, kT, groups * 5}, 3);
    std::vector<int64_t> all;
    for (int64_t i = 0; i < kT * groups; ++i)
      for (int64_t c = 0; c < kBlocks; ++c) all.push_back((c + i) % kBlocks);
    const Tensor blocks = integers({1, kT, groups * kBlocks}, all);
    const Function selected = [&](const Tensors& x) {
      return Tensors{selected_attention(x[0], x[1], x[2], blocks, o)};
    };
    const Function full = [&](const Tensors& x) {
      return Tensors{attention(x[0], x[1], x[2], {.heads = heads, .kv_heads = groups})};
    };
    const Tensors mine = outputs_and_gradients(selected, {q, k, v});
    expect_near(mine, outputs_and_gradients(full, {q, k, v}), 1e-13);
    CHECK(max_diff(selected({q, k, v})[0], mine[0]) == 0);  // not recorded
  }
}

TEST_CASE("selected_attention: what later tokens hold and choose does not touch a bit of earlier ones") {
  constexpr int64_t kT = 41;
  for (int64_t heads : {1, 3}) {
    const SelectedAttentionOptions o{.heads = heads, .kv_heads = 1, .block = 5};
    const Tensor q = random({1, kT, heads * 4}, 1, DType::f32), k = random({1, kT, 4}, 2, DType::f32),
                 v = random({1, kT, 9}, 3, DType::f32), blocks = drawn_blocks(1, kT, 1, 3, 9);
    const Tensor y = selected_attention(q, k, v, blocks, o);
    for (int64_t t = 1; t < kT; t += 3) {
      const Tensor q2 = q.clone(), other = blocks.clone();
      for (int64_t r = t; r < kT; ++r) {
        for (int64_t c = 0; c < q.cols(); ++c) put(q2, r, c, 3);
        for (int64_t c = 0; c < 3; ++c) other.data<int64_t>()[r * 3 + c] = (r + c) % 2 ? c : -1;
      }
      CHECK(same_bits(tokens(selected_attention(q2, k, v, other, o), 0, t), tokens(y, 0, t)));
    }
  }
}

TEST_CASE("selected_attention: a token that is given nothing gives zero, and lists that don't fit are refused") {
  const SelectedAttentionOptions o{.heads = 2, .kv_heads = 1, .block = 2};
  const Tensor x = random({1, 3, 4}, 1), k = random({1, 3, 2}, 2);
  const Tensor y = selected_attention(x, k, k, integers({1, 3, 1}, {-1, 1, 0}), o);
  CHECK(at(y, 0, 0) == 0);
  CHECK(at(y, 1, 0) == 0);  // block 1 lies after its token
  CHECK(at(y, 2, 0) != 0);
  CHECK_THROWS_WITH_AS(selected_attention(x, k, k, integers({1, 3, 1}, {0, 2, 0}), o), doctest::Contains("block 2"),
                       ShapeError);
  CHECK_THROWS_AS(selected_attention(x, k, k, integers({1, 2, 1}, {0, 0}), o), ShapeError);
}
