#include "cores/route/slots.h"

#include <cmath>
#include <limits>
#include <vector>

#include "cores/common/segments.h"
#include "kernels/gemm.h"
#include "ops/rows.h"

namespace effllm {
namespace {

// f(sequence, number of the document in it, its first token, its tokens)
template <class F>
void each_document(const Tensor& segments, int64_t batch, int64_t tokens, F&& f) {
  const DocumentStarts starts(segments);
  parallel_for(batch, 1, [&](int64_t b, int64_t) {
    int64_t number = 0;
    for (const Piece& p : pieces_of(starts.row(b), tokens, tokens)) f(b, number++, p.from, p.to - p.from);
  });
}

class SoftmaxOfTokensOp final : public Op {
 public:
  std::string_view name() const override { return "softmax_of_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape& s = in[0].shape();
    require(s.rank() == 3 && is_float(in[0].dtype()), "softmax_of_tokens: of [B, T, S], not {}", s.str());
    require_segments(name(), in[1], s[0], s[1]);
    return {{s, in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = static_cast<double>(in[0].numel()), bytes = static_cast<double>(in[0].bytes());
    return {12 * n, 4 * n, 2 * bytes, 3 * bytes};
  }
  Keeps keeps() const override { return {.inputs = 2, .outputs = 1}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<const T> x = c.in(0).view<T>();
      const View<T> y = c.out(0).view<T>();
      each_document(c.in(1), c.in(0).dim(0), c.in(0).dim(1), [&](int64_t b, int64_t, int64_t from, int64_t n) {
        const int64_t first = b * c.in(0).dim(1) + from;
        std::vector<T> most(static_cast<size_t>(x.cols), -std::numeric_limits<T>::infinity()), sum(most.size());
        for (int64_t r = first; r < first + n; ++r)
          for (int64_t s = 0; s < x.cols; ++s)
            most[static_cast<size_t>(s)] = std::max(most[static_cast<size_t>(s)], x.row(r)[s]);
        for (int64_t r = first; r < first + n; ++r)
          for (int64_t s = 0; s < x.cols; ++s)
            sum[static_cast<size_t>(s)] += y.row(r)[s] = std::exp(x.row(r)[s] - most[static_cast<size_t>(s)]);
        for (int64_t r = first; r < first + n; ++r)
          for (int64_t s = 0; s < x.cols; ++s) y.row(r)[s] /= sum[static_cast<size_t>(s)];
      });
    });
  }
  void backward(Backward& c) override {  // dx_t = y_t (g_t - sum_u g_u y_u)
    if (!c.wants(0)) return;
    const Sink sink = c.sink(0);
    const Shape& shape = c.out_shape(0);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> y = c.out(0).view<T>(), g = c.grad(0).view<T>();
      const View<T> d = sink.into.view<T>();
      each_document(c.in(1), shape[0], shape[1], [&](int64_t b, int64_t, int64_t from, int64_t n) {
        const int64_t first = b * shape[1] + from;
        std::vector<T> dot(static_cast<size_t>(y.cols));
        for (int64_t r = first; r < first + n; ++r)
          for (int64_t s = 0; s < y.cols; ++s) dot[static_cast<size_t>(s)] += g.row(r)[s] * y.row(r)[s];
        for (int64_t r = first; r < first + n; ++r)
          for (int64_t s = 0; s < y.cols; ++s)
            d.row(r)[s] =
                (sink.accumulate ? d.row(r)[s] : T(0)) + y.row(r)[s] * (g.row(r)[s] - dot[static_cast<size_t>(s)]);
      });
    });
  }
};

// Tokens, weights and slots of a document: one of tokens and slots is a weighted sum of the other. to_slots: slots_s =
// sum_t weight_ts token_t; otherwise token_t = sum_s weight_ts slot_s.
class SlotsOp final : public Op {
 public:
  explicit SlotsOp(bool to_slots) : to_slots_(to_slots) {}
  std::string_view name() const override { return to_slots_ ? "tokens_to_slots" : "slots_to_tokens"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &x = in[0].shape(), &w = in[1].shape();
    require(w.rank() == 3 && x.rank() == 3 && x[0] == w[0] && in[0].dtype() == in[1].dtype(), "{}: {} with weights{}",
            name(), x.str(), w.str());
    require_segments(name(), in[2], w[0], w[1]);
    const int64_t rows = room_for_documents(w[1], in[2]) * w[2];
    require(x[1] == (to_slots_ ? w[1] : rows), "{}: {} with weights{}", name(), x.str(), w.str());
    return {{x.with(1, to_slots_ ? rows : w[1]), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto flops = static_cast<double>(2 * in[1].numel() * in[0].cols()),
               bytes = static_cast<double>(in[0].bytes() + in[1].bytes());
    return {flops, 2 * flops, bytes, 2 * bytes, flops};
  }
  Keeps keeps() const override { return {.inputs = 7}; }
  void forward(Forward& c) override {
    dispatch_float(c.in(0).dtype(), [&]<class T>() {
      const View<T> y = c.out(0).view<T>();
      if (to_slots_) fill(c.out(0), 0);
      each<T>(c.in(1), c.in(2), [&](const Place& p) {
        const View<const T> x = in<T>(c.in(0), p), w = p.tokens(View<const T>(c.in(1).view<T>()));
        if (to_slots_)
          parallel_gemm<T>(w, true, x, false, p.slots(y), false);
        else
          parallel_gemm<T>(w, false, x, false, p.tokens(y), false);
      });
    });
  }
  void backward(Backward& c) override {
    const Sink d_x = c.sink(0), d_w = c.sink(1);
    dispatch_float(c.dtype(), [&]<class T>() {
      const View<const T> g = c.grad(0).view<T>();
      if (d_x && !to_slots_ && !d_x.accumulate) fill(d_x.into, 0);
      each<T>(c.in(1), c.in(2), [&](const Place& p) {
        const View<const T> x = in<T>(c.in(0), p), w = p.tokens(View<const T>(c.in(1).view<T>()));
        const View<const T> own = to_slots_ ? p.slots(g) : p.tokens(g);
        if (d_x) {
          const View<T> d = d_x.view<T>();
          if (to_slots_)
            parallel_gemm<T>(w, false, own, false, p.tokens(d), d_x.accumulate);
          else
            parallel_gemm<T>(w, true, own, false, p.slots(d), d_x.accumulate);
        }
        if (d_w) {  // of token t and slot s: token . slot
          const View<T> d = p.tokens(d_w.view<T>());
          parallel_gemm<T>(to_slots_ ? x : own, false, to_slots_ ? own : x, true, d, d_w.accumulate);
        }
      });
    });
  }

 private:
  struct Place {
    int64_t first_token, count, first_slot, slot_count;
    template <class V>
    V tokens(const V& v) const {
      return v.part(first_token, count);
    }
    template <class V>
    V slots(const V& v) const {
      return v.part(first_slot, slot_count);
    }
  };
  template <class T>
  View<const T> in(const Tensor& x, const Place& p) const {
    const View<const T> v = x.view<T>();
    return to_slots_ ? p.tokens(v) : p.slots(v);
  }
  template <class T, class F>
  static void each(const Tensor& weights, const Tensor& segments, F&& f) {
    const int64_t tokens = weights.dim(1), slots = weights.cols(), room = room_for_documents(tokens, segments);
    each_document(segments, weights.dim(0), tokens, [&](int64_t b, int64_t number, int64_t from, int64_t n) {
      f(Place{b * tokens + from, n, (b * room + number) * slots, slots});
    });
  }
  bool to_slots_;
};

}  // namespace

int64_t room_for_documents(int64_t tokens, const Tensor& segments) { return segments.defined() ? tokens : 1; }

Tensor experts_of_slots(int64_t batch, int64_t tokens, int64_t slots, int64_t count, const Tensor& segments) {
  require(count >= 1 && slots % count == 0, "experts_of_slots: {} slots for {} experts", slots, count);
  const int64_t rows = room_for_documents(tokens, segments) * slots;
  const Tensor lists = Tensor::dense({batch, rows, 1}, DType::i64);
  if (lists.is_meta()) return lists;
  fill(lists, -1);
  each_document(segments, batch, tokens, [&](int64_t b, int64_t number, int64_t, int64_t) {
    int64_t* own = lists.data<int64_t>() + b * rows + number * slots;
    for (int64_t s = 0; s < slots; ++s) own[s] = s / (slots / count);
  });
  return lists;
}
Tensor softmax_of_tokens(const Tensor& x, const Tensor& segments) {
  return run(std::make_unique<SoftmaxOfTokensOp>(), {x, segments});
}
Tensor tokens_to_slots(const Tensor& x, const Tensor& weights, const Tensor& segments) {
  return run(std::make_unique<SlotsOp>(true), {x, weights, segments});
}
Tensor slots_to_tokens(const Tensor& slots, const Tensor& weights, const Tensor& segments) {
  return run(std::make_unique<SlotsOp>(false), {slots, weights, segments});
}

}  // namespace effllm
