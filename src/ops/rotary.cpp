#include "ops/rotary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "kernels/pointwise.h"
#include "kernels/position.h"
#include "ops/rows.h"

namespace effllm {

RotaryTable::RotaryTable(int64_t dim, double theta, int64_t positions)
    : dim_(dim), positions_(positions), theta_(theta) {
  require(dim > 0 && dim % 2 == 0, "rotary: pairs of columns are turned, so that their number is even and not {}", dim);
  positions_ = std::clamp<int64_t>(positions, 0, kMostNumbers / (dim / 2));
  for (int64_t i = 0; i < dim / 2; ++i)
    frequency_.push_back(std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(dim)));
}

void RotaryTable::count_meta() const {
  if (MetaMode::on())
    BufferPool::local().count_meta_table(fmt::format("rotary {} {} {}", dim_, theta_, positions_),
                                         static_cast<size_t>(positions_ * dim_) * sizeof(float));
}

// Those that another table holds, or new ones. They live as long as a table that reads them.
template <class T>
std::shared_ptr<const RotaryTable::Values<T>> RotaryTable::shared_values() const {
  using Key = std::tuple<int64_t, double, int64_t>;
  static std::mutex guard;
  static std::map<Key, std::weak_ptr<const Values<T>>> all;
  const std::scoped_lock lock(guard);
  auto& known = all[Key(dim_, theta_, positions_)];
  if (auto values = known.lock()) return values;
  const auto made = std::make_shared<Values<T>>();
  made->cosines.reserve(static_cast<size_t>(positions_ * dim_ / 2));
  made->sines.reserve(static_cast<size_t>(positions_ * dim_ / 2));
  for (int64_t p = 0; p < positions_; ++p)
    for (int64_t i = 0; i < dim_ / 2; ++i) {
      made->cosines.push_back(static_cast<T>(std::cos(angle(p, i))));
      made->sines.push_back(static_cast<T>(std::sin(angle(p, i))));
    }
  known = made;
  return made;
}

template <class T>
const RotaryTable::Values<T>& RotaryTable::values() const {
  auto& lazy = [this]() -> auto& {
    if constexpr (sizeof(T) == 4)
      return f32_;
    else
      return f64_;
  }
  ();
  std::call_once(lazy.made, [&] { lazy.values = shared_values<T>(); });
  return *lazy.values;
}

template <class T>
void RotaryTable::rows(const int64_t* position, int64_t n, T* cosines, T* sines) const {
  const Values<T>& table = values<T>();
  const int64_t half = dim_ / 2;
  for (int64_t r = 0; r < n; ++r, cosines += half, sines += half) {
    const int64_t p = position[r];
    for (int64_t i = 0; i < half; ++i) {
      const auto at = static_cast<size_t>(p * half + i);
      cosines[i] = p < positions_ ? table.cosines[at] : static_cast<T>(std::cos(angle(p, i)));
      sines[i] = p < positions_ ? table.sines[at] : static_cast<T>(std::sin(angle(p, i)));
    }
  }
}
template void RotaryTable::rows<float>(const int64_t*, int64_t, float*, float*) const;
template void RotaryTable::rows<double>(const int64_t*, int64_t, double*, double*) const;

namespace {

class RotaryOp final : public Op {
 public:
  RotaryOp(int64_t heads, std::shared_ptr<const RotaryTable> table, int64_t first)
      : heads_(heads), table_(std::move(table)), first_(first) {}
  std::string_view name() const override { return "rotary"; }
  Outputs infer(std::span<const Tensor> in) const override {
    require(in[0].shape().rank() == 3 && in[0].cols() % heads_ == 0 && in[0].cols() / heads_ >= first_ + table_->dim(),
            "rotary: x{} is not [B, T, {} heads of at least {}]", in[0].shape().str(), heads_, first_ + table_->dim());
    require(in[1].dtype() == DType::i64 && in[1].is_dense() && in[1].numel() == in[0].rows(),
            "rotary: positions{} for x{}", in[1].shape().str(), in[0].shape().str());
    return {{in[0].shape(), in[0].dtype()}};
  }
  Cost cost(std::span<const Tensor> in) const override { return per_number(in[0], {3, 3, 2, 2}); }
  Keeps keeps() const override { return {.inputs = 2}; }
  Scratch scratch(std::span<const TensorSpec> in) const override {
    const int64_t angles = in[0].shape.rows() * table_->dim();
    return scratch_of(angles, angles, in[0].dtype);
  }
  void forward(Forward& c) override { turn(c.in(0), c.in(1), c.out(0), false, false); }
  void backward(Backward& c) override {
    if (const Sink s = c.sink(0)) turn(c.grad(0), c.in(1), s.into, true, s.accumulate);
  }

 private:
  void turn(const Tensor& x, const Tensor& positions, const Tensor& y, bool inverse, bool add) const {
    dispatch_float(x.dtype(), [&]<class T>() {
      const View<const T> a = x.view<T>();
      const auto o = y.view<T>();
      const int64_t half = table_->dim() / 2;
      const int64_t* p = positions.data<int64_t>();
      const Tensor angles = Tensor::dense({2, a.rows * half}, x.dtype());
      T *cosines = angles.data<T>(), *sines = cosines + a.rows * half;
      for_row_blocks(a.rows, [&](int64_t r, int64_t n) {
        table_->rows(p + r, n, cosines + r * half, sines + r * half);
        const int64_t width = a.cols / heads_, dim = table_->dim();
        if (first_ == 0) {
          kernel::rotate<T>(a.part(r, n), heads_, width, dim, cosines + r * half, sines + r * half, inverse,
                            o.part(r, n), add);
          return;
        }
        for (int64_t h = 0; h < heads_; ++h) {
          const View<const T> from = a.part(r, n).columns(h * width, width);
          const View<T> to = o.part(r, n).columns(h * width, width);
          kernel::scale<T>(T(1), from.columns(0, first_), to.columns(0, first_), add);
          kernel::rotate<T>(from.columns(first_, width - first_), 1, width - first_, dim, cosines + r * half,
                            sines + r * half, inverse, to.columns(first_, width - first_), add);
        }
      });
    });
  }

  int64_t heads_;
  std::shared_ptr<const RotaryTable> table_;
  int64_t first_;
};

}  // namespace

Tensor rotary(const Tensor& x, const Tensor& positions, int64_t heads, std::shared_ptr<const RotaryTable> table,
              int64_t first) {
  table->count_meta();
  return run(std::make_unique<RotaryOp>(heads, std::move(table), first), {x, positions});
}

}  // namespace effllm
