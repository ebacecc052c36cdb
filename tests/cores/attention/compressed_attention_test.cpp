#include "cores/attention/compressed_attention.h"

#include <map>

#include "cores/attention/token_windows.h"
#include "ops/op_checks.h"

using namespace effllm;
using namespace effllm::test;

namespace {

// The ranges of documents that start with the row.
SummaryRanges ranges(int64_t batch, int64_t tokens, const CompressedOptions& o) {
  const SummaryRanges r{Tensor::zeros({batch, tokens}, DType::i64), Tensor::zeros({batch, tokens}, DType::i64),
                        Tensor::zeros({batch, tokens}, DType::i64)};
  for (int64_t i = 0; i < batch * tokens; ++i) {
    const int64_t t = i % tokens;
    r.last.data<int64_t>()[i] = t + 1 < o.length ? 0 : (t + 1 - o.length) / o.stride + 1;
    r.position.data<int64_t>()[i] = t;
  }
  return r;
}

// Probabilities of one head by definition.
std::vector<double> probabilities(const Tensor& q, const Tensor& k, int64_t row, int64_t h, int64_t tokens,
                                  int64_t first, int64_t last, const CompressedOptions& o) {
  const int64_t width = k.cols(), g = h * o.kv_heads / o.heads;
  std::vector<double> p;
  double sum = 0;
  for (int64_t i = first; i < last; ++i) {
    double s = 0;
    for (int64_t c = 0; c < width; ++c)
      s += at(q, row, h * width + c) * at(k, row / tokens * k.dim(1) + i * o.kv_heads + g, c);
    p.push_back(std::exp(s / std::sqrt(static_cast<double>(width))));
    sum += p.back();
  }
  for (double& x : p) x /= sum;
  return p;
}

}  // namespace

TEST_CASE("token_windows: the windows of every document with their positions, across calls") {
  const Poison poison;
  const TokenWindowsOptions o{.length = 4, .stride = 2, .groups = 2, .rows = 6};
  const Tensor x = random({2, 13, 6}, 1), position = random({4, 3}, 2);
  // Row 0: documents of 5, 2 and 6 tokens; row 1: one.
  const Tensor segments =
      integers({2, 13}, {0, 0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  const Tensor y = token_windows(x, position, o, {}, segments);
  CHECK(y.shape() == Shape{2, 12, 12});
  const std::vector<std::map<int64_t, int64_t>> starts = {{{0, 0}, {3, 7}, {4, 9}},
                                                          {{0, 0}, {1, 2}, {2, 4}, {3, 6}, {4, 8}}};
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t i = 0; i < 6; ++i)
      for (int64_t g = 0; g < 2; ++g)
        for (int64_t c = 0; c < 12; ++c) {
          const auto& all = starts[static_cast<size_t>(b)];
          const auto it = all.find(i);
          const double want =
              it == all.end() ? 0 : at(x, b * 13 + it->second + c / 3, g * 3 + c % 3) + at(position, c / 3, c % 3);
          CHECK(at(y, (b * 6 + i) * 2 + g, c) == want);
        }
  // A call that begins in the middle, with what the next windows need.
  for (int64_t cut = 1; cut < 13; ++cut) {
    const int64_t done = windows_of(cut, o), pending = cut - 2 * done, made = windows_of(13, o) - done;
    const Tensor cache = Tensor::zeros({2, 3, 6}, DType::f64);
    for (int64_t b = 0; b < 2; ++b)
      for (int64_t r = 0; r < pending; ++r)
        for (int64_t c = 0; c < 6; ++c) put(cache, b * 3 + r, c, at(x, b * 13 + cut - pending + r, c));
    const Tensor late = token_windows(tokens(x, cut, 13), position, o, {cache, integers({2}, {pending, pending})}),
                 whole = token_windows(x, position, o);
    for (int64_t b = 0; b < 2; ++b)
      CHECK(max_diff(tokens(late, 0, 2 * made), tokens(whole, 2 * done, 2 * (done + made))) == 0);
  }
  const auto f = [&](const Tensors& in) {
    return std::vector{token_windows(in[0], in[1], o, {in[2], integers({2}, {3, 1})}, segments.columns(0, 8).clone())};
  };
  CHECK(gradient_error(f, {random({2, 8, 6}, 1), position, random({2, 3, 6}, 3)}) < 1e-8);
  CHECK_THROWS_WITH_AS(token_windows(x, random({3, 3}, 1), o), doctest::Contains("position[3, 3]"), ShapeError);
  CHECK_THROWS_WITH_AS(token_windows(x, position, {.length = 4, .stride = 2, .groups = 2, .rows = 4}),
                       doctest::Contains("in 4 rows"), ShapeError);
}

TEST_CASE("compressed_attention: a softmax over each token's summaries, by definition, gradients, f32") {
  const Poison poison;
  constexpr int64_t kT = 15;
  for (const CompressedOptions& o :
       {CompressedOptions{.heads = 4, .kv_heads = 2, .length = 4, .stride = 2},
        CompressedOptions{.heads = 2, .kv_heads = 1, .length = 3, .stride = 1, .chunk = 3}}) {
    const int64_t n = (kT - o.length) / o.stride + 1;
    const Tensor q = random({2, kT, o.heads * 3}, 1), k = random({2, n * o.kv_heads, 3}, 2),
                 v = random({2, n * o.kv_heads, 5}, 3);
    SummaryRanges r = ranges(2, kT, o);
    r.first.data<int64_t>()[kT - 1] = 2;
    const Tensor y = compressed_attention(q, k, v, r, o);
    Tensor want = Tensor::zeros(y.shape(), DType::f64);
    for (int64_t row = 0; row < 2 * kT; ++row)
      for (int64_t h = 0; h < o.heads; ++h) {
        const int64_t first = r.first.data<int64_t>()[row], last = r.last.data<int64_t>()[row];
        const auto p = probabilities(q, k, row, h, kT, first, last, o);
        for (int64_t i = first; i < last; ++i)
          for (int64_t c = 0; c < 5; ++c)
            put(want, row, h * 5 + c,
                at(want, row, h * 5 + c) +
                    p[static_cast<size_t>(i - first)] *
                        at(v, row / kT * v.dim(1) + i * o.kv_heads + h * o.kv_heads / o.heads, c));
      }
    CHECK(max_diff(y, want) < 1e-13);
    CHECK(at(y, 0, 0) == 0);  // nothing is complete yet
    const auto f = [&](const Tensors& in) { return std::vector{compressed_attention(in[0], in[1], in[2], r, o)}; };
    CHECK(max_diff(f(inputs_as({q, k, v}, DType::f32))[0], want) < 5e-6);
    CHECK(gradient_error(f, {q, k, v}) < 1e-7);
    CHECK_THROWS_AS(compressed_attention(q, k, random({2, n, 5}, 1), r, {.heads = 3, .kv_heads = 1}), ShapeError);
  }
}

TEST_CASE("important_blocks: three blocks always, the others by the probabilities of what overlaps them") {
  constexpr int64_t kT = 30;
  for (const CompressedOptions& o :
       {CompressedOptions{.heads = 4, .kv_heads = 2, .length = 4, .stride = 2, .block = 4, .select = 4},
        CompressedOptions{.heads = 2, .kv_heads = 1, .length = 2, .stride = 2, .block = 4, .select = 5},
        CompressedOptions{.heads = 2, .kv_heads = 2, .length = 6, .stride = 2, .block = 2, .select = 6}}) {
    const int64_t n = (kT - o.length) / o.stride + 1, group = o.heads / o.kv_heads;
    const Tensor q = random({2, kT, o.heads * 3}, 1), k = random({2, n * o.kv_heads, 3}, 2);
    const SummaryRanges r = ranges(2, kT, o);
    const Tensor lists = important_blocks(q, k, r, o);
    for (int64_t row = 0; row < 2 * kT; ++row)
      for (int64_t g = 0; g < o.kv_heads; ++g) {
        const int64_t last = r.last.data<int64_t>()[row], own = row % kT / o.block;
        std::vector<double> rating(static_cast<size_t>(own + 1), 0);
        for (int64_t h = g * group; h < (g + 1) * group; ++h) {
          const auto p = probabilities(q, k, row, h, kT, 0, last, o);
          for (int64_t j = 0; j <= own; ++j)
            for (int64_t m = 0; m < o.block / o.stride; ++m)
              for (int64_t x = 0; x < o.length / o.stride; ++x) {
                const int64_t i = o.block / o.stride * j + m + x - (o.length / o.stride - 1);
                if (i >= 0 && i < last) rating[static_cast<size_t>(j)] += p[static_cast<size_t>(i)];
              }
        }
        std::vector<int64_t> want;
        for (int64_t j = 0; j <= own; ++j) {
          const bool forced = j == 0 || j >= own - 1;
          int64_t better = 0;
          for (int64_t i = 1; i < own - 1; ++i)
            better += rating[static_cast<size_t>(i)] > rating[static_cast<size_t>(j)];
          if (forced || own < o.select || better < o.select - 3) want.push_back(j);
        }
        want.resize(static_cast<size_t>(o.select), -1);
        for (int64_t i = 0; i < o.select; ++i)
          CHECK(lists.view<int64_t>().row(row)[g * o.select + i] == want[static_cast<size_t>(i)]);
      }
  }
  const CompressedOptions wrong{.heads = 2, .kv_heads = 1, .length = 4, .stride = 3};
  CHECK_THROWS_AS(important_blocks(random({1, 5, 6}, 1), random({1, 2, 3}, 2), ranges(1, 5, wrong), wrong), ShapeError);
}
