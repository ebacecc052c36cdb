// Sizes of a tensor, at most five, stored inline.
#pragma once
#include <algorithm>
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>

namespace effllm {

class Shape {
 public:
  static constexpr int kMaxRank = 5;
  // More than any machine addresses. Strides, bytes and sums of thousands of tensors below it stay far from 2^63.
  static constexpr int64_t kMostElements = int64_t{1} << 47;
  constexpr Shape() = default;
  constexpr Shape(std::initializer_list<int64_t> dims) : rank_(static_cast<int>(dims.size())) {
    std::copy(dims.begin(), dims.end(), dims_.begin());
  }
  constexpr int rank() const { return rank_; }
  constexpr int64_t operator[](int i) const { return dims_[static_cast<size_t>(i < 0 ? i + rank_ : i)]; }
  // MemoryError where there are more than kMostElements: sizes come from configurations.
  constexpr int64_t numel() const {
    int64_t n = 1;
    for (int i = 0; i < rank_; ++i)
      if (__builtin_mul_overflow(n, (*this)[i], &n)) too_large();
    if (n > kMostElements) too_large();
    return n;
  }
  constexpr int64_t cols() const { return rank_ ? (*this)[-1] : 1; }
  constexpr int64_t rows() const { return cols() ? numel() / cols() : 0; }
  constexpr bool operator==(const Shape&) const = default;
  constexpr Shape with(int i, int64_t n) const {
    Shape s = *this;
    s.dims_[static_cast<size_t>(i < 0 ? i + rank_ : i)] = n;
    return s;
  }
  constexpr Shape with_first(int64_t n) const {  // one dimension more, in front
    Shape s;
    s.rank_ = rank_ + 1;
    s.dims_[0] = n;
    std::copy_n(dims_.begin(), rank_, s.dims_.begin() + 1);
    return s;
  }
  std::string str() const;  // "[2, 16, 64]"

 private:
  [[noreturn]] void too_large() const;
  std::array<int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

}  // namespace effllm
