#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "cores/attention/reference_attention.h"
#include "kernels/isa.h"
#include "kernels/table.h"

namespace effllm {
namespace {

struct Case {
  const char* name;
  int64_t queries, keys, dk, dv;
  bool causal = true;
  int64_t window = 0, sinks = 0, gap = 0, q_offset = 0;
  double slope = 0, dropout = 0;
  std::vector<int64_t> first{}, last{};
};

// Padded rows of random numbers; `fill` where nothing was written yet.
template <class T>
struct Matrix {
  std::vector<T> data;
  int64_t rows, cols, stride;
  static Matrix random(int64_t r, int64_t c, uint64_t seed) {  // f32 and f64 get the same numbers
    Matrix m(r, c, T(0));
    const RandomStream numbers(seed, "attention test");
    for (int64_t i = 0; i < r * c; ++i) {
      const auto x = static_cast<float>(numbers.normal(static_cast<uint64_t>(i)));
      m.data[static_cast<size_t>(i / c * m.stride + i % c)] = static_cast<T>(x);
    }
    return m;
  }
  Matrix(int64_t r, int64_t c, T fill)
      : data(static_cast<size_t>(r * (c + 2)), fill), rows(r), cols(c), stride(c + 2) {}
  View<T> view() { return {data.data(), rows, cols, stride}; }
  template <class U>
  double difference(const Matrix<U>& o) const {
    double worst = 0;
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) {
        const double d = std::abs(static_cast<double>(data[static_cast<size_t>(r * stride + c)]) -
                                  static_cast<double>(o.data[static_cast<size_t>(r * o.stride + c)]));
        worst = std::isfinite(d) ? std::max(worst, d) : std::numeric_limits<double>::infinity();
      }
    return worst;
  }
};

template <class T>
struct Run {
  static constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
  Matrix<T> q, k, v, d_o, o, dq, dk, dv;
  std::vector<T> lse, scratch;
  AttentionArgs<T> a;
  AttentionBackwardArgs<T> g;

  Run(const Case& c, int64_t strip, bool add)
      : q(Matrix<T>::random(c.queries, c.dk, 1)),
        k(Matrix<T>::random(c.keys, c.dk, 2)),
        v(Matrix<T>::random(c.keys, c.dv, 3)),
        d_o(Matrix<T>::random(c.queries, c.dv, 4)),
        o(c.queries, c.dv, kNan),
        dq(c.queries, c.dk, add ? T(1) : kNan),
        dk(c.keys, c.dk, add ? T(2) : kNan),
        dv(c.keys, c.dv, add ? T(3) : kNan),
        lse(static_cast<size_t>(c.queries), kNan) {
    a.q = q.view(), a.k = k.view(), a.v = v.view(), a.o = o.view();
    a.lse = lse.data();
    a.scale = 0.4;
    a.q_offset = c.q_offset, a.causal = c.causal, a.window = c.window, a.sinks = c.sinks, a.gap = c.gap;
    a.alibi_slope = c.slope;
    a.first = c.first.empty() ? nullptr : c.first.data();
    a.last = c.last.empty() ? nullptr : c.last.data();
    a.drop_below = static_cast<uint32_t>(c.dropout * 0x1p32);
    a.drop_scale = 1 / (1 - c.dropout);
    a.drop_key0 = 11, a.drop_key1 = 12, a.drop_c2 = 3, a.drop_c3 = 4;
    a.strip = strip;
    g.d_o = d_o.view(), g.dq = dq.view(), g.dk = dk.view(), g.dv = dv.view();
    g.add_q = g.add_k = g.add_v = add;
  }
  void compute() {
    scratch.assign(static_cast<size_t>(kernels<T>().attention_scratch(q.rows, k.rows, q.cols, v.cols, a.strip)), kNan);
    a.scratch = scratch.data();
    kernels<T>().attention(a);
    std::fill(scratch.begin(), scratch.end(), kNan);
    kernels<T>().attention_backward(a, g);
  }
};

std::vector<Case> cases() {
  std::vector<Case> all = {
      {"causal", 37, 37, 8, 8},
      {"one token", 1, 1, 5, 3},
      {"odd widths", 35, 35, 3, 5},
      {"wide heads", 20, 20, 70, 33},
      {"many keys", 150, 150, 16, 16},
      {.name = "continued", .queries = 20, .keys = 70, .dk = 6, .dv = 4, .q_offset = 50},
      {.name = "a decoding step", .queries = 1, .keys = 77, .dk = 19, .dv = 9, .q_offset = 76},
      {.name = "three drafts",
       .queries = 3,
       .keys = 77,
       .dk = 32,
       .dv = 16,
       .window = 20,
       .sinks = 3,
       .gap = 5,
       .q_offset = 74,
       .slope = 0.1,
       .dropout = 0.3},
      {.name = "bidirectional", .queries = 45, .keys = 45, .dk = 8, .dv = 8, .causal = false},
      {.name = "window", .queries = 100, .keys = 100, .dk = 8, .dv = 8, .window = 7},
      {.name = "window and sinks", .queries = 150, .keys = 150, .dk = 8, .dv = 8, .window = 9, .sinks = 3},
      {.name = "bidirectional window and sinks",
       .queries = 90,
       .keys = 90,
       .dk = 8,
       .dv = 8,
       .causal = false,
       .window = 6,
       .sinks = 2},
      {.name = "gap",
       .queries = 30,
       .keys = 90,
       .dk = 8,
       .dv = 8,
       .window = 40,
       .sinks = 4,
       .gap = 100,
       .q_offset = 60,
       .slope = 0.25},
      {.name = "gap without window",
       .queries = 9,
       .keys = 40,
       .dk = 8,
       .dv = 8,
       .sinks = 4,
       .gap = 10,
       .q_offset = 31,
       .slope = 0.25},
      {.name = "bidirectional gap",
       .queries = 9,
       .keys = 40,
       .dk = 8,
       .dv = 8,
       .causal = false,
       .window = 12,
       .sinks = 4,
       .gap = 10,
       .q_offset = 31},
      {.name = "alibi", .queries = 50, .keys = 50, .dk = 8, .dv = 8, .slope = 0.5},
      {.name = "bidirectional alibi", .queries = 50, .keys = 50, .dk = 8, .dv = 8, .causal = false, .slope = 0.5},
      {.name = "dropout", .queries = 66, .keys = 66, .dk = 8, .dv = 8, .dropout = 0.3},
      {.name = "dropout, continued",
       .queries = 20,
       .keys = 70,
       .dk = 8,
       .dv = 8,
       .window = 33,
       .q_offset = 50,
       .dropout = 0.5},
  };
  Case documents{
      .name = "documents", .queries = 110, .keys = 130, .dk = 8, .dv = 7, .window = 12, .sinks = 2, .q_offset = 20};
  const std::vector<int64_t> starts = {0, 25, 26, 50, 51, 52, 90, 121, 130};
  for (int64_t i = 0; i < documents.queries; ++i) {
    const auto next = std::upper_bound(starts.begin(), starts.end(), i + 20);
    documents.first.push_back(*(next - 1));
    documents.last.push_back(*next);
  }
  all.push_back(documents);
  documents.name = "documents, whole";
  documents.window = 0;
  all.push_back(documents);
  documents.name = "documents, bidirectional";
  documents.causal = false;
  all.push_back(documents);
  Case blind{.name = "rows that see nothing", .queries = 40, .keys = 40, .dk = 8, .dv = 8};
  for (int64_t i = 0; i < 40; ++i) blind.first.push_back(i % 3 == 0 || (i > 10 && i < 36) ? 40 : 0);
  blind.last.assign(40, 40);
  all.push_back(blind);
  blind.name = "no row sees anything";
  blind.first.assign(40, 40);
  all.push_back(blind);
  return all;
}

template <class T>
void check(const Case& c, double bound) {
  for (const bool add : {false, true}) {
    Run<double> reference(c, 1, add);
    reference_attention(reference.a);
    reference_attention_backward(reference.a, reference.g);
    for (const int64_t strip : {1, 5, 32, 64, 1000}) {
      CAPTURE(isa());
      CAPTURE(c.name);
      CAPTURE(strip);
      Run<T> run(c, strip, add);
      run.compute();
      CHECK(run.o.difference(reference.o) < bound);
      CHECK(run.dq.difference(reference.dq) < 4 * bound);
      CHECK(run.dk.difference(reference.dk) < 8 * bound);
      CHECK(run.dv.difference(reference.dv) < 8 * bound);
      double lse = 0;
      for (size_t i = 0; i < run.lse.size(); ++i)
        if (reference.lse[i] != static_cast<double>(run.lse[i]))  // equal infinities are fine
          lse = std::max(lse, std::abs(reference.lse[i] - static_cast<double>(run.lse[i])));
      CHECK(lse < bound);
    }
  }
}

}  // namespace

TEST_CASE("attention kernels: forward and backward are the plain loops', for every mask, strip and instruction set") {
  const std::string before(isa());
  for (const auto name : isas()) {
    set_isa(name);
    for (const Case& c : cases()) {
      check<double>(c, 1e-12);
      check<float>(c, 1e-5);
    }
  }
  set_isa(before);
}

TEST_CASE("attention kernels: huge scores neither overflow nor lose the largest") {
  const std::string before(isa());
  for (const auto name : isas()) {
    set_isa(name);
    const Case c{"huge", 40, 40, 8, 8};
    Run<float> run(c, 32, false);
    Run<double> reference(c, 32, false);
    run.a.scale = reference.a.scale = 300;
    run.compute();
    reference_attention(reference.a);
    CHECK(run.o.difference(reference.o) < 2e-2);  // scores of 1e3 are known to 1e-4 in f32
    CHECK(run.dq.difference(run.dq) == 0);        // finite
  }
  set_isa(before);
}

}  // namespace effllm
