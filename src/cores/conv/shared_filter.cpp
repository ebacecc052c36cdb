#include "cores/conv/shared_filter.h"

#include <algorithm>
#include <vector>

#include "cores/conv/conv_history.h"
#include "cores/scan/column_blocks.h"
#include "kernels/gemm.h"
#include "kernels/parallel.h"
#include "kernels/pointwise.h"
#include "kernels/short_conv.h"

namespace effllm {
namespace {

enum Input { kX, kWeight, kHistory, kSegments, kBase };

constexpr int64_t kColumns = 128;  // to one item of work
constexpr int64_t kRows = 32;      // outputs to one product of the weight's gradient

// Which sources the tokens of one row see.
struct Sight {
  std::vector<int64_t> from;  // [T] the first source in the row
  int64_t running;            // tokens that still belong to the document before the row

  Sight(const uint8_t* starts, int64_t tokens, int64_t width) : from(static_cast<size_t>(tokens)), running(0) {
    int64_t begin = 0;
    if (continues(starts)) running = document_end(starts, -1, tokens);
    for (int64_t t = 0; t < tokens; ++t) {
      if (starts && starts[t]) begin = t;
      from[static_cast<size_t>(t)] = std::max(begin, t - width + 1);
    }
  }
  // The same with time reversed, where token t is a source of those after it: [T] for output T - 1 - t.
  std::vector<int64_t> reversed(const uint8_t* starts, int64_t width) const {
    const auto tokens = static_cast<int64_t>(from.size());
    std::vector<int64_t> back(from.size());
    int64_t end = tokens;
    for (int64_t t = tokens - 1; t >= 0; --t) {
      back[static_cast<size_t>(tokens - 1 - t)] = tokens - std::min(end, t + width);
      if (starts && starts[t]) end = t;
    }
    return back;
  }
};

template <class T>
View<T> reversed(View<T> v) {
  return {v.row(v.rows - 1), v.rows, v.cols, -v.stride};
}

class SharedFilterOp final : public FloatOp<SharedFilterOp> {
 public:
  std::string_view name() const override { return "shared_filter"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &s = in[kX].shape(), &w = in[kWeight].shape();
    const DType type = in[kX].dtype();
    require(s.rank() == 3 && s[1] >= 1 && w.rank() == 2 && w[0] >= 1 && w[1] >= 1 && s[2] % w[0] == 0 &&
                is_float(type) && in[kWeight].dtype() == type,
            "shared_filter: x{} and weight{} are not [B, T, H*n] and [H, W] of one float type", s.str(), w.str());
    const Shape history{s[0], w[1] - 1, s[2]};
    require(!in[kHistory].defined() || (in[kHistory].shape() == history && in[kHistory].dtype() == type),
            "shared_filter: history{} for x{} and weight{}, it should be {}", in[kHistory].shape().str(), s.str(),
            w.str(), history.str());
    require(!in[kBase].defined() || (in[kBase].shape() == s && in[kBase].dtype() == type),
            "shared_filter: base{} for x{}", in[kBase].shape().str(), s.str());
    require_segments(name(), in[kSegments], s[0], s[1]);
    return {{s, type}, {history, type}};
  }
  Cost cost(std::span<const Tensor> in) const override {
    const auto n = numbers(in[kX]), size = bytes_of_number(in[kX]);
    const auto width = static_cast<double>(in[kWeight].cols());
    const double rows = in[kBase].defined() ? 3 : 2;
    return {2 * width * n, 4 * width * n, rows * n * size, 3 * n * size};
  }
  Keeps keeps() const override { return {.inputs = 1 << kX | 1 << kWeight | 1 << kHistory | 1 << kSegments}; }

  // Backwards the products of kRows outputs with what they see.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const Shape& w = in[kWeight].shape;
    return scratch_of(0, w[0] * kRows * (kRows + w[1]), in[kX].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const Sizes z(c.in(kX).shape(), c.in(kWeight).shape());
    const DocumentStarts starts(c.in(kSegments));
    const auto sights = sights_of(starts, z);
    z.for_columns([&](int64_t b, int64_t h, int64_t from, int64_t n) {
      const View<T> x = part_or_null<T>(c.in(kX), b, from, n), y = part_or_null<T>(c.out(0), b, from, n),
                    before = part_or_null<T>(c.in(kHistory), b, from, n), now = part_or_null<T>(c.out(1), b, from, n),
                    base = part_or_null<T>(c.in(kBase), b, from, n);
      const T* w = c.in(kWeight).view<T>().row(h);
      const Sight& sight = sights[static_cast<size_t>(b)];
      for (int64_t t = 0; base && t < z.tokens; ++t) std::copy_n(base.row(t), n, y.row(t));
      kernel::filter<T>(x, w, z.width, sight.from.data(), y, static_cast<bool>(base));
      for_history(before, sight, z.width, [&](int64_t tap, int64_t row, int64_t rows) {
        kernel::scale<T>(w[tap], before.part(row, rows), y.part(0, rows), true);
      });
      keep_history<T>(starts.row(b), x, before, now);
    });
  }

  template <class T>
  void backward_in(Backward& c) {
    const Sizes z(c.in_shape(kX), c.in_shape(kWeight));
    const DocumentStarts starts(c.in(kSegments));
    const auto sights = sights_of(starts, z);
    const Tensor dy = c.whole_grad(0);
    const Sink dx = c.sink(kX), dw = c.sink(kWeight), d_before = c.sink(kHistory);
    z.for_columns([&](int64_t b, int64_t h, int64_t from, int64_t n) {
      const View<T> g = part_or_null<T>(dy, b, from, n), x_sink = part_or_null<T>(dx.into, b, from, n),
                    before_sink = part_or_null<T>(d_before.into, b, from, n),
                    d_now = part_or_null<T>(c.grad(1), b, from, n);
      const T* w = c.in(kWeight).view<T>().row(h);
      const Sight& sight = sights[static_cast<size_t>(b)];
      if (x_sink)
        kernel::filter<T>(reversed<const T>(g), w, z.width, sight.reversed(starts.row(b), z.width).data(),
                          reversed<T>(x_sink), dx.accumulate);
      for (int64_t r = 0; before_sink && !d_before.accumulate && r < z.width - 1; ++r)
        std::fill_n(before_sink.row(r), n, T(0));
      for_history(before_sink, sight, z.width, [&](int64_t tap, int64_t row, int64_t rows) {
        kernel::scale<T>(w[tap], g.part(0, rows), before_sink.part(row, rows), true);
      });
      if (d_now) add_history_gradient<T>(starts.row(b), z.tokens, d_now, x_sink, before_sink);
    });
    if (dw.into.defined()) weight_gradient<T>(c, z, sights, dy, dw);
    if (c.wants(kBase)) c.give(kBase, dy);
  }

 private:
  struct Sizes {
    int64_t batch, tokens, heads, width, columns;  // columns of a head
    Sizes(const Shape& x, const Shape& w) : batch(x[0]), tokens(x[1]), heads(w[0]), width(w[1]), columns(x[2] / w[0]) {}
    // f(b, h, first column, columns), each a part of one head's columns.
    template <class F>
    void for_columns(F&& f) const {
      const int64_t blocks = (columns + kColumns - 1) / kColumns;
      parallel_for(batch * heads * blocks, 1, [&](int64_t item, int64_t) {
        const int64_t h = item / blocks % heads, from = item % blocks * kColumns;
        f(item / blocks / heads, h, h * columns + from, std::min(kColumns, columns - from));
      });
    }
  };

  static std::vector<Sight> sights_of(const DocumentStarts& starts, const Sizes& z) {
    std::vector<Sight> all;
    for (int64_t b = 0; b < z.batch; ++b) all.emplace_back(starts.row(b), z.tokens, z.width);
    return all;
  }

  // f(tap, row, n): rows [row, row + n) of the history weigh `tap` in tokens [0, n).
  template <class T, class F>
  static void for_history(View<T> history, const Sight& sight, int64_t width, F&& f) {
    if (!history) return;
    for (int64_t back = 1; back < width; ++back)
      if (const int64_t n = std::min(back, sight.running); n > 0) f(width - 1 - back, width - 1 - back, n);
  }

  // dw[W-1-(t-s)] += dy_t . x_s: products of kRows outputs with the sources they can see, summed along diagonals.
  template <class T>
  static void weight_gradient(Backward& c, const Sizes& z, const std::vector<Sight>& sights, const Tensor& dy,
                              const Sink& dw) {
    const int64_t pitch = kRows + z.width;
    const Tensor memory = Tensor::dense({z.heads, kRows * pitch}, dtype_of<T>);
    parallel_for(z.heads, 1, [&](int64_t h, int64_t) {
      T* const products = memory.view<T>().row(h);
      T* const w = dw.into.view<T>().row(h);
      if (!dw.accumulate) std::fill_n(w, z.width, T(0));
      for (int64_t b = 0; b < z.batch; ++b) {
        const View<T> x = part_or_null<T>(c.in(kX), b, h * z.columns, z.columns),
                      g = part_or_null<T>(dy, b, h * z.columns, z.columns),
                      before = part_or_null<T>(c.in(kHistory), b, h * z.columns, z.columns);
        const Sight& sight = sights[static_cast<size_t>(b)];
        for (int64_t t = 0; t < z.tokens; t += kRows) {
          const int64_t rows = std::min(kRows, z.tokens - t), first = std::max<int64_t>(0, t - z.width + 1),
                        sources = t + rows - first;
          gemm<T>(false, true, rows, sources, z.columns, g.row(t), g.stride, x.row(first), x.stride, products, pitch,
                  false);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t s = sight.from[static_cast<size_t>(t + r)]; s <= t + r; ++s)
              w[z.width - 1 - (t + r - s)] += products[r * pitch + s - first];
        }
        const int64_t seen = std::min(sight.running, z.width - 1);
        for (int64_t t = 0; before && t < seen; t += kRows) {
          const int64_t rows = std::min(kRows, seen - t);
          gemm<T>(false, true, rows, z.width - 1, z.columns, g.row(t), g.stride, before.data, before.stride, products,
                  pitch, false);
          for (int64_t r = 0; r < rows; ++r)
            for (int64_t s = t + r; s < z.width - 1; ++s) w[s - t - r] += products[r * pitch + s];
        }
      }
    });
  }
};

}  // namespace

SharedFilterResult shared_filter(const Tensor& x, const Tensor& weight, const Tensor& history, const Tensor& segments,
                                 const Tensor& base) {
  return run_to<SharedFilterResult>(std::make_unique<SharedFilterOp>(), {x, weight, history, segments, base});
}

}  // namespace effllm
