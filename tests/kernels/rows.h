// Rows of numbers for kernel tests: every instruction set, sizes around the vector width, odd offsets and strides.
#pragma once
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "base/random.h"
#include "kernels/isa.h"
#include "tensor/view.h"

namespace effllm::test {

// Puts the instruction set back at the end.
struct IsaRestored {
  std::string before{isa()};
  ~IsaRestored() { set_isa(before); }
};

// Calls f() once with each instruction set.
template <class F>
void for_each_isa(F&& f) {
  const IsaRestored restored;
  for (std::string_view name : isas()) {
    set_isa(name);
    f();
  }
}

struct Layout {
  int64_t offset, pad;  // elements before the first row, and between rows
};
inline constexpr Layout kLayouts[] = {{0, 0}, {1, 3}, {3, 1}};
inline constexpr int64_t kMostColumns = 33;  // twice the lanes of the widest vector, and one

// f(columns, layout) for each instruction set and all small sizes.
template <class F>
void for_each_size(int64_t least, F&& f) {
  for_each_isa([&] {
    for (const Layout& layout : kLayouts)
      for (int64_t cols = least; cols <= kMostColumns; ++cols) f(cols, layout);
  });
}

// Normal numbers, the same in both types, in a frame that must not be touched: NaN all around, and no byte of memory
// behind the last row.
template <class T>
class Rows {
 public:
  Rows(int64_t rows, int64_t cols, Layout at, uint64_t seed, double scale = 1)
      : rows_(rows), cols_(cols), stride_(cols + at.pad), offset_(at.offset) {
    const int64_t size = rows > 0 ? offset_ + (rows - 1) * stride_ + cols : 0;
    memory_.assign(static_cast<size_t>(size), std::numeric_limits<T>::quiet_NaN());
    const RandomStream numbers(seed, "rows");
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c)
        view().row(r)[c] =
            static_cast<T>(static_cast<float>(scale * numbers.normal(static_cast<uint64_t>(r * cols + c))));
    before_ = memory_;
  }
  View<T> view() { return {memory_.data() + offset_, rows_, cols_, stride_}; }
  View<const T> view() const { return {memory_.data() + offset_, rows_, cols_, stride_}; }
  View<T> in_order(bool backwards) {  // the rows, or last to first
    return backwards ? View<T>{view().row(rows_ - 1), rows_, cols_, -stride_} : view();
  }
  T* data() { return memory_.data() + offset_; }
  double at(int64_t r, int64_t c) const { return static_cast<double>(view().row(r)[c]); }
  double before(int64_t r, int64_t c) const {
    return static_cast<double>(before_[static_cast<size_t>(offset_ + r * stride_ + c)]);
  }
  double largest() const {
    double most = 0;
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = 0; c < cols_; ++c) most = std::max(most, std::abs(at(r, c)));
    return most;
  }
  // Largest |x - expected(r, c)| / (1 + |expected|), or 1 + `least` where that is more; infinite where a NaN turned up
  // or the frame was written to.
  template <class F>
  double error(F&& expected, double least = 0) const {
    double worst = 0;
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = 0; c < cols_; ++c) {
        const double e = expected(r, c), d = std::abs(at(r, c) - e) / (1 + std::max(std::abs(e), least));
        if (std::isnan(d)) return std::numeric_limits<double>::infinity();
        worst = std::max(worst, d);
      }
    return frame_intact() ? worst : std::numeric_limits<double>::infinity();
  }

 private:
  bool frame_intact() const {
    for (int64_t i = 0; i < static_cast<int64_t>(memory_.size()); ++i) {
      const bool inside = i >= offset_ && (i - offset_) % stride_ < cols_;
      if (!inside && std::memcmp(&memory_[static_cast<size_t>(i)], &before_[static_cast<size_t>(i)], sizeof(T)) != 0)
        return false;
    }
    return true;
  }

  int64_t rows_, cols_, stride_, offset_;
  std::vector<T> memory_, before_;
};

// What rounding may cost a kernel over a few dozen elements.
template <class T>
inline constexpr double kTolerance = sizeof(T) == 4 ? 4e-6 : 1e-13;

}  // namespace effllm::test
