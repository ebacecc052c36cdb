// Mamba's recurrence of one sequence. A group of channels, one a lane, runs through all tokens with its N states in the
// first-level cache; decays are computed where they are used. Backward takes kSelectiveSpan tokens at a time from the
// end: states and decays of the span are computed again from its checkpoint, and what every channel adds to the
// gradients of b and c is summed over groups before lanes are folded.
#include "kernels/selective_scan.h"
#include "kernels/isa/exp2.h"
#include "kernels/isa/lanes.h"
#include "kernels/isa/tile.h"

namespace effllm::EFFLLM_ISA {
namespace {

constexpr int64_t kSpan = kSelectiveSpan;

template <class T>
int64_t scratch(int64_t states, int64_t columns) noexcept {
  const int64_t groups = (columns + kLanes<T> - 1) / kLanes<T>;
  return (2 + 2 * groups + 4 * kSpan) * states * kLanes<T> + kLanes<T> * kLanes<T>;
}

template <class T>
void forward(const SelectiveScan<T>& a) noexcept {
  constexpr int64_t w = kLanes<T>;
  const int64_t states = a.b.cols;
  T *const h = a.scratch, *const rate = h + states * w;
  for (int64_t c = 0; c < a.x.cols; c += w) {
    const int64_t n = smaller(w, a.x.cols - c);
    load_rows<T>(a.h0, states, c, n, T(1), h);
    load_rows<T>(a.rate, states, c, n, T(-kLog2E), rate);
    const Vec<T> skip = a.skip ? load_some(a.skip + c, n) : Vec<T>{};
    for (int64_t t = 0; t < a.x.rows; ++t) {
      if (a.checkpoints && t % kSpan == 0)
        for (int64_t i = 0; i < states; ++i)
          store_some<T>(a.checkpoints.row(t / kSpan * states + i) + c, load(h + i * w), n);
      if (a.starts && a.starts[t]) clear(h, states);
      const Vec<T> x = load_some(a.x.row(t) + c, n), delta = load_some(a.delta.row(t) + c, n), in = delta * x;
      const T *b = a.b.row(t), *read = a.c.row(t);
      Vec<T> y = skip * x;
      for (int64_t i = 0; i < states; ++i) {
        const Vec<T> now = mul_add(exp2_of_negative(delta * load(rate + i * w)), load(h + i * w), in * b[i]);
        store<T>(h + i * w, now);
        y = mul_add(read[i], now, y);
      }
      store_some<T>(a.y.row(t) + c, y, n);
    }
    for (int64_t i = 0; i < states; ++i) store_some<T>(a.last.row(i) + c, load(h + i * w), n);
  }
}

// What backward works on: vectors of a span's tokens and states, and of all groups' running sums.
template <class T>
struct Work {
  T *rate, *h, *before, *decay, *to_b, *to_c, *fold, *gradient, *to_rate;
  Work(T* p, int64_t states, int64_t groups) {
    const int64_t one = states * kLanes<T>;
    const auto take = [&](int64_t count) {
      T* const q = p;
      p += count;
      return q;
    };
    rate = take(one);
    h = take(one);
    before = take(kSpan * one);
    decay = take(kSpan * one);
    to_b = take(kSpan * one);
    to_c = take(kSpan * one);
    gradient = take(groups * one);
    to_rate = take(groups * one);
    fold = take(kLanes<T> * kLanes<T>);
  }
};

// States before each token of [from, to) and their decays.
template <class T>
void restore(const SelectiveScan<T>& a, const Work<T>& s, int64_t from, int64_t to, int64_t c, int64_t n) {
  constexpr int64_t w = kLanes<T>;
  const int64_t states = a.b.cols;
  load_rows<T>(a.checkpoints.part(from / kSpan * states, states), states, c, n, T(1), s.h);
  for (int64_t t = from; t < to; ++t) {
    if (a.starts && a.starts[t]) clear(s.h, states);
    const Vec<T> delta = load_some(a.delta.row(t) + c, n), in = delta * load_some(a.x.row(t) + c, n);
    const T* b = a.b.row(t);
    T *before = s.before + (t - from) * states * w, *decay = s.decay + (t - from) * states * w;
    for (int64_t i = 0; i < states; ++i) {
      const Vec<T> h = load(s.h + i * w), e = exp2_of_negative(delta * load(s.rate + i * w) * T(-kLog2E));
      store<T>(before + i * w, h);
      store<T>(decay + i * w, e);
      store<T>(s.h + i * w, mul_add(e, h, in * b[i]));
    }
  }
}

// Token t of one group, where G is the gradient of h_t that comes from later tokens, and becomes that of h_{t-1}.
template <class T>
[[gnu::always_inline]] inline void backward_token(const SelectiveScan<T>& a, const SelectiveScanBackward<T>& g,
                                                  const Work<T>& s, int64_t t, int64_t place, int64_t c, int64_t n,
                                                  T* gradient, T* to_rate, Vec<T> skip, Vec<T>& to_skip) {
  constexpr int64_t w = kLanes<T>;
  const int64_t states = a.b.cols, at = place * states * w;
  const Vec<T> x = load_some(a.x.row(t) + c, n), delta = load_some(a.delta.row(t) + c, n), in = delta * x;
  const Vec<T> dy = g.d_y ? load_some(g.d_y.row(t) + c, n) : Vec<T>{};
  const T *b = a.b.row(t), *read = a.c.row(t), *before = s.before + at, *decay = s.decay + at;
  T *to_b = s.to_b + at, *to_c = s.to_c + at;
  Vec<T> to_in{}, to_delta{};
  for (int64_t i = 0; i < states * w; i += w) {
    const Vec<T> e = load(decay + i), kept = e * load(before + i), now = mul_add(*b, in, kept);
    store<T>(to_c + i, mul_add(dy, now, load(to_c + i)));
    const Vec<T> d = mul_add(*read, dy, load(gradient + i)), faded = d * kept;
    store<T>(to_b + i, mul_add(d, in, load(to_b + i)));
    to_in = mul_add(*b, d, to_in);
    to_delta = mul_sub_from(faded, load(s.rate + i), to_delta);
    store<T>(to_rate + i, mul_sub_from(faded, delta, load(to_rate + i)));
    store<T>(gradient + i, d * e);
    ++b;
    ++read;
  }
  if (a.starts && a.starts[t]) clear(gradient, states);
  to_skip = mul_add(dy, x, to_skip);
  if (g.d_x) put_some<T>(g.d_x.row(t) + c, mul_add(delta, to_in, skip * dy), n, g.add_x);
  if (g.d_delta) put_some<T>(g.d_delta.row(t) + c, mul_add(x, to_in, to_delta), n, g.add_delta);
}

// Lanes of the vectors at `from`, one for each state, summed into a row.
template <class T>
void fold_row(const T* from, int64_t states, T* to) {
  constexpr int64_t w = kLanes<T>;
  for (int64_t i = 0; i < states; i += w) {
    const int64_t n = smaller(w, states - i);
    Vec<T> x[w];
#pragma GCC unroll 16
    for (int64_t k = 0; k < w; ++k) x[k] = k < n ? load(from + (i + k) * w) : Vec<T>{};
    store_some<T>(to + i, fold_lanes<T>(x, [](Vec<T> u, Vec<T> v) { return u + v; }), n);
  }
}

template <class T>
void backward(const SelectiveScan<T>& a, const SelectiveScanBackward<T>& g) noexcept {
  constexpr int64_t w = kLanes<T>;
  const int64_t states = a.b.cols, tokens = a.x.rows, groups = (a.x.cols + w - 1) / w, one = states * w;
  const Work<T> s(a.scratch, states, groups);
  clear(s.to_rate, groups * states);
  for (int64_t k = 0; k < groups; ++k)
    load_rows<T>(g.d_last, states, k * w, smaller(w, a.x.cols - k * w), T(1), s.gradient + k * one);
  for (int64_t from = (tokens - 1) / kSpan * kSpan; from >= 0; from -= kSpan) {
    const int64_t to = smaller(from + kSpan, tokens);
    clear(s.to_b, (to - from) * states);
    clear(s.to_c, (to - from) * states);
    for (int64_t k = 0; k < groups; ++k) {
      const int64_t c = k * w, n = smaller(w, a.x.cols - c);
      load_rows<T>(a.rate, states, c, n, T(1), s.rate);
      restore(a, s, from, to, c, n);
      const Vec<T> skip = a.skip ? load_some(a.skip + c, n) : Vec<T>{};
      Vec<T> to_skip = to < tokens ? load_some(g.d_skip + c, n) : Vec<T>{};
      for (int64_t t = to - 1; t >= from; --t)
        backward_token(a, g, s, t, t - from, c, n, s.gradient + k * one, s.to_rate + k * one, skip, to_skip);
      store_some<T>(g.d_skip + c, to_skip, n);
    }
    for (int64_t t = from; t < to; ++t) {
      fold_row(s.to_b + (t - from) * one, states, g.d_b.row(t));
      fold_row(s.to_c + (t - from) * one, states, g.d_c.row(t));
    }
  }
  for (int64_t k = 0; k < groups; ++k)
    for (int64_t i = 0; i < states; ++i) {
      const int64_t c = k * w, n = smaller(w, a.x.cols - c);
      store_some<T>(g.d_rate.row(i) + c, load(s.to_rate + k * one + i * w), n);
      if (g.d_h0) put_some<T>(g.d_h0.row(i) + c, load(s.gradient + k * one + i * w), n, g.add_h0);
    }
}

}  // namespace

void fill_selective_scan() {
  EFFLLM_SET(selective_scan_scratch, scratch);
  EFFLLM_SET(selective_scan, forward);
  EFFLLM_SET(selective_scan_backward, backward);
}

}  // namespace effllm::EFFLLM_ISA
