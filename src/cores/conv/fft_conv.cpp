#include "cores/conv/fft_conv.h"

#include <bit>
#include <cmath>
#include <map>
#include <mutex>
#include <numbers>

#include "autodiff/float_op.h"
#include "cores/common/segments.h"
#include "kernels/fourier.h"
#include "kernels/parallel.h"

namespace effllm {
namespace {

enum Input { kU, kK, kSegments };

int64_t transform_length(int64_t tokens) {
  return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(2 * tokens)));
}

// e^(-2 pi i k / n) of all k < n, made once for each length.
template <class T>
const T* turns(int64_t n) {
  static std::mutex mutex;
  static std::map<int64_t, std::vector<T>> all;
  const std::lock_guard lock(mutex);
  std::vector<T>& table = all[n];
  if (table.empty())
    for (int64_t k = 0; k < n; ++k) {
      const double angle = -2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(n);
      table.push_back(static_cast<T>(std::cos(angle)));
      table.push_back(static_cast<T>(std::sin(angle)));
    }
  return table.data();
}

// Rows [from, from + tokens) of the tensor's rows: a document, or the part of it in this call.
struct Run {
  int64_t from, tokens;
};

// The documents of all sequences by what they need: few tokens first, then one list for each length of transform.
class Runs {
 public:
  Runs(const Tensor& segments, int64_t batch, int64_t tokens) {
    const DocumentStarts starts(segments);
    for (int64_t b = 0; b < batch; ++b)
      for (const Piece& p : pieces_of(starts.row(b), tokens, tokens)) {
        const Run run{b * tokens + p.from, p.to - p.from};
        run.tokens <= kDirectConv ? direct.push_back(run) : by_length[transform_length(run.tokens)].push_back(run);
      }
  }
  std::vector<Run> direct;
  std::map<int64_t, std::vector<Run>> by_length;
};

template <class T>
View<T> rows_of(const Tensor& t, const Run& run, int64_t column, int64_t n) {
  return t.defined() ? t.view<T>().part(run.from, run.tokens).columns(column, n) : View<T>{};
}

class FftConvOp final : public FloatOp<FftConvOp> {
 public:
  std::string_view name() const override { return "fft_conv"; }
  Outputs infer(std::span<const Tensor> in) const override {
    const Shape &u = in[kU].shape(), &k = in[kK].shape();
    require(u.rank() == 3 && u[1] >= 1 && u[2] >= 1 && k == Shape{u[1], u[2]} && is_float(in[kU].dtype()) &&
                in[kK].dtype() == in[kU].dtype(),
            "fft_conv: u{} and k{} are not [B, T, C] and [T, C] of one float type", u.str(), k.str());
    require_segments(name(), in[kSegments], u[0], u[1]);
    return {{u, in[kU].dtype()}};
  }
  // As if each row were one document: 5 n log2 n a transform of n complex numbers, two sequences in each.
  Cost cost(std::span<const Tensor> in) const override {
    const Shape& s = in[kU].shape();
    const auto batch = static_cast<double>(s[0]), tokens = static_cast<double>(s[1]),
               columns = static_cast<double>(s[2]);
    const double size = bytes_of_number(in[kU]), bytes = size * columns * tokens;
    if (s[1] <= kDirectConv) {
      const double terms = batch * columns * tokens * (tokens + 1);
      return {terms, 2 * terms, (2 * batch + 1) * bytes, (3 * batch + 2) * bytes};
    }
    const auto n = static_cast<double>(transform_length(s[1]));
    const double one = 5 * n * std::log2(n) * columns, pairs = std::ceil(batch / 2);
    return {one * (1 + 2 * pairs) + 6 * n * pairs * columns, one * (2 + 3 * pairs) + 14 * n * pairs * columns,
            (2 * batch + 1) * bytes, (3 * batch + 2) * bytes};
  }
  Keeps keeps() const override { return {.inputs = 1 << kU | 1 << kK | 1 << kSegments}; }

  // Transforms of the columns that fill the lanes of a vector.
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const int64_t size = transform_length(in[kU].shape[1]) * 2 * kernel::lanes<float>();
    return scratch_of(2 * size, 4 * size, in[kU].dtype);
  }

  template <class T>
  void forward_in(Forward& c) {
    const Runs runs(c.in(kSegments), c.in(kU).dim(0), c.in(kU).dim(1));
    for_groups<T>(c.in(kU).shape(), 2, [&](int64_t column, int64_t n, T* x, int64_t size) {
      const View<const T> k = c.in(kK).view<T>().columns(column, n);
      const auto u = [&](const Run& r) { return rows_of<T>(c.in(kU), r, column, n); };
      const auto y = [&](const Run& r) { return rows_of<T>(c.out(0), r, column, n); };
      for (const Run& r : runs.direct) kernel::direct_conv<T>(u(r), k, y(r));
      T* const spectrum = x + size;
      for (const auto& [length, list] : runs.by_length) {
        const T* const turn = turns<T>(length);
        kernel::to_spectrum<T>(k.part(0, std::min(k.rows, length / 2)), {}, length, turn, spectrum);
        for (size_t i = 0; i < list.size(); i += 2) {
          const bool two = i + 1 < list.size();
          kernel::to_spectrum<T>(u(list[i]), two ? u(list[i + 1]) : View<T>{}, length, turn, x);
          kernel::multiply_spectra<T>(x, spectrum, false, length);
          kernel::from_spectrum<T>(x, length, turn, y(list[i]), two ? y(list[i + 1]) : View<T>{}, false);
        }
      }
    });
  }

  // d_u = d_y correlated with k, and d_k = d_y correlated with u, whose sum over both sequences of a transform is the
  // real part of that of their complex signals.
  template <class T>
  void backward_in(Backward& c) {
    const Runs runs(c.in(kSegments), c.in(kU).dim(0), c.in(kU).dim(1));
    const Sink d_u = c.sink(kU);
    const Tensor d_k = c.sum(kK);
    for_groups<T>(c.in(kU).shape(), 4, [&](int64_t column, int64_t n, T* x, int64_t size) {
      const View<const T> k = c.in(kK).view<T>().columns(column, n);
      const View<T> to_k = d_k.defined() ? d_k.view<T>().columns(column, n) : View<T>{};
      const auto u = [&](const Run& r) { return rows_of<T>(c.in(kU), r, column, n); };
      const auto dy = [&](const Run& r) { return rows_of<T>(c.grad(0), r, column, n); };
      const auto du = [&](const Run& r) { return rows_of<T>(d_u.into, r, column, n); };
      for (const Run& r : runs.direct) kernel::direct_conv_backward<T>(u(r), k, dy(r), du(r), d_u.accumulate, to_k);
      T *const spectrum = x + size, *const other = spectrum + size, *const sum = other + size;
      for (const auto& [length, list] : runs.by_length) {
        const T* const turn = turns<T>(length);
        const int64_t taps = std::min(k.rows, length / 2);
        kernel::to_spectrum<T>(k.part(0, taps), {}, length, turn, spectrum);
        for (size_t i = 0; i < list.size(); i += 2) {
          const bool two = i + 1 < list.size();
          kernel::to_spectrum<T>(dy(list[i]), two ? dy(list[i + 1]) : View<T>{}, length, turn, x);
          if (to_k) {
            kernel::to_spectrum<T>(u(list[i]), two ? u(list[i + 1]) : View<T>{}, length, turn, other);
            kernel::correlate_spectra<T>(other, x, sum, i > 0, length);
          }
          if (!d_u.into.defined()) continue;
          kernel::multiply_spectra<T>(x, spectrum, true, length);
          kernel::from_spectrum<T>(x, length, turn, du(list[i]), two ? du(list[i + 1]) : View<T>{}, d_u.accumulate);
        }
        if (to_k) kernel::from_spectrum<T>(sum, length, turn, to_k.part(0, taps), {}, true);
      }
    });
  }

 private:
  // f(column, n, buffers, size of one) for groups of columns that fill the lanes of a vector.
  template <class T, class F>
  static void for_groups(const Shape& s, int64_t buffers, F&& f) {
    const int64_t lanes = kernel::lanes<T>(), columns = s[2], size = transform_length(s[1]) * 2 * lanes;
    parallel_for((columns + lanes - 1) / lanes, 1 + (1 << 12) / (s[0] * s[1] + 1), [&](int64_t first, int64_t last) {
      const Tensor memory = Tensor::dense({buffers * size}, dtype_of<T>);
      for (int64_t g = first; g < last; ++g) f(g * lanes, std::min(lanes, columns - g * lanes), memory.data<T>(), size);
    });
  }
};

}  // namespace

Tensor fft_conv(const Tensor& u, const Tensor& k, const Tensor& segments) {
  return run(std::make_unique<FftConvOp>(), {u, k, segments});
}

}  // namespace effllm
