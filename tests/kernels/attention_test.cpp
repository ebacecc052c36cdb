#include <doctest/doctest.h>

#include <algorithm>

#include "cores/attention/reference_attention.h"
#include "kernels/attention.h"
#include "kernels/rows.h"

using namespace effllm;
using namespace effllm::test;

namespace {

struct Case {
  const char* name;
  int64_t queries, keys, dk, dv;
  bool causal = true;
  int64_t window = 0, sinks = 0, gap = 0, q_offset = 0;
  double slope = 0, dropout = 0;
  std::vector<int64_t> first{}, last{};
  int64_t prefix = 0, block = 0, clean = 0;
};

constexpr Layout kGap{0, 2};

template <class T>
struct Run {
  static constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
  Rows<T> q, k, v, d_o, o, dq, dk, dv;
  std::vector<T> lse, scratch;
  AttentionArgs<T> a;
  AttentionBackwardArgs<T> g;

  Run(const Case& c, int64_t strip, bool add)
      : q(c.queries, c.dk, kGap, 1),
        k(c.keys, c.dk, kGap, 2),
        v(c.keys, c.dv, kGap, 3),
        d_o(c.queries, c.dv, kGap, 4),
        o(c.queries, c.dv, kGap, 5),
        dq(c.queries, c.dk, kGap, 6),
        dk(c.keys, c.dk, kGap, 7),
        dv(c.keys, c.dv, kGap, 8),
        lse(static_cast<size_t>(c.queries), kNan) {
    a.q = q.view(), a.k = k.view(), a.v = v.view(), a.o = o.view();
    a.lse = lse.data();
    a.scale = 0.4;
    a.q_offset = c.q_offset, a.causal = c.causal, a.window = c.window, a.sinks = c.sinks, a.gap = c.gap;
    a.alibi_slope = c.slope;
    a.prefix = c.prefix, a.block = c.block, a.clean = c.clean;
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
    const int64_t size = kernel::attention_scratch<T>(a.q.rows, a.k.rows, a.q.cols, a.v.cols, a.strip);
    scratch.assign(static_cast<size_t>(size), kNan);
    a.scratch = scratch.data();
    kernel::attention<T>(a);
    std::fill(scratch.begin(), scratch.end(), kNan);
    kernel::attention_backward<T>(a, g);
  }
};

std::vector<Case> cases() {
  // name, queries, keys, dk, dv, causal, window, sinks, gap, q_offset, slope, dropout
  std::vector<Case> all = {
      {"causal", 37, 37, 8, 8},
      {"one token", 1, 1, 5, 3},
      {"odd widths", 35, 35, 3, 5},
      {"wide heads", 20, 20, 70, 33},
      {"many keys", 150, 150, 16, 16},
      {"continued", 20, 70, 6, 4, true, 0, 0, 0, 50},
      {"a decoding step", 1, 77, 19, 9, true, 0, 0, 0, 76},
      {"three drafts", 3, 77, 32, 16, true, 20, 3, 5, 74, 0.1, 0.3},
      {"bidirectional", 45, 45, 8, 8, false},
      {"window", 100, 100, 8, 8, true, 7},
      {"window and sinks", 150, 150, 8, 8, true, 9, 3},
      {"bidirectional window and sinks", 90, 90, 8, 8, false, 6, 2},
      {"gap", 30, 90, 8, 8, true, 40, 4, 100, 60, 0.25},
      {"gap without window", 9, 40, 8, 8, true, 0, 4, 10, 31, 0.25},
      {"bidirectional gap", 9, 40, 8, 8, false, 12, 4, 10, 31},
      {"alibi", 50, 50, 8, 8, true, 0, 0, 0, 0, 0.5},
      {"bidirectional alibi", 50, 50, 8, 8, false, 0, 0, 0, 0, 0.5},
      {"dropout", 66, 66, 8, 8, true, 0, 0, 0, 0, 0, 0.3},
      {"dropout, continued", 20, 70, 8, 8, true, 33, 0, 0, 50, 0, 0.5},
  };
  Case documents{"documents", 110, 130, 8, 7, true, 12, 2, 0, 20};
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
  const auto more = [&](const char* name, int64_t queries, int64_t keys, auto&& set) {
    Case c{.name = name, .queries = queries, .keys = keys, .dk = 8, .dv = 7};
    c.q_offset = keys - queries;
    set(c);
    all.push_back(c);
  };
  more("prefix", 90, 90, [](Case& c) { c.prefix = 50; });
  more("prefix after a state", 40, 130, [](Case& c) { c.prefix = 117, c.window = 30, c.sinks = 2, c.slope = 0.2; });
  more("blocks", 90, 90, [](Case& c) { c.causal = false, c.block = 16; });
  more("blocks of one", 37, 37, [](Case& c) { c.causal = false, c.block = 1; });
  more("blocks after a state", 20, 70, [](Case& c) { c.causal = false, c.block = 10, c.slope = 0.1; });
  more("blocks and a gap", 12, 40,
       [](Case& c) { c.causal = false, c.block = 6, c.gap = 32, c.window = 25, c.sinks = 2; });
  for (const int64_t block : {1, 5, 16, 100})
    more("noisy", 150, 150, [&](Case& c) { c.causal = false, c.block = block, c.clean = 75, c.slope = 0.1; });
  more("noisy, window, dropout", 140, 140,
       [](Case& c) { c.causal = false, c.block = 7, c.clean = 70, c.window = 11, c.dropout = 0.3; });
  more("noisy documents", 140, 140, [](Case& c) {
    c.causal = false, c.block = 8, c.clean = 70;
    for (int64_t i = 0; i < 140; ++i) {
      c.first.push_back(i / 70 * 70 + (i % 70 < 20 ? 0 : 20));
      c.last.push_back(i / 70 * 70 + (i % 70 < 20 ? 20 : 70));
    }
  });
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
double difference(const Rows<T>& a, const Rows<double>& b) {
  return a.error([&](int64_t r, int64_t c) { return b.at(r, c); });
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
      CHECK(difference(run.o, reference.o) < bound);
      CHECK(difference(run.dq, reference.dq) < 2 * bound);
      CHECK(difference(run.dk, reference.dk) < 4 * bound);
      CHECK(difference(run.dv, reference.dv) < 4 * bound);
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
  for_each_isa([] {
    for (const Case& c : cases()) {
      check<double>(c, 1e-12);
      check<float>(c, 1e-5);
    }
  });
}

TEST_CASE("attention kernels: huge scores neither overflow nor lose the largest") {
  for_each_isa([] {
    const Case c{"huge", 40, 40, 8, 8};
    Run<float> run(c, 32, false);
    Run<double> reference(c, 32, false);
    run.a.scale = reference.a.scale = 300;
    run.compute();
    reference_attention(reference.a);
    CHECK(difference(run.o, reference.o) < 2e-2);  // scores of 1e3 are known to 1e-4 in f32
    CHECK(run.dq.error([&](int64_t r, int64_t x) { return run.dq.at(r, x); }) == 0);  // finite
  });
}
