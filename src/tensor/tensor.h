// A tensor: contiguous rows of the last dimension with one row stride, shared by reference.
#pragma once
#include <span>
#include <utility>

#include "base/held.h"
#include "tensor/buffer_pool.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"
#include "tensor/view.h"

namespace effllm {

// Elements from one row to the next. Rows of floats whose size is a multiple of 512 bytes get one cache line more, an
// odd number of lines: neither the sets of the cache nor 4 KiB store aliasing then hit the same place row after row,
// and oneDNN's sgemm stays on its fast path.
constexpr int64_t padded_stride(int64_t cols, DType t) {
  const int64_t size = static_cast<int64_t>(size_of(t));
  return is_float(t) && cols * size % 512 == 0 ? cols + 64 / size : cols;
}

inline constexpr int kUntracked = -1;

// Copying a Tensor never copies data. Counts of references are not atomic: a tensor stays on the thread of its pool.
// Views of foreign memory (parameters, carried states) count nothing and may be read by all threads.
class Tensor {
 public:
  Tensor() = default;
  static Tensor empty(const Shape& s, DType t);  // rows padded; the pad is never read
  static Tensor zeros(const Shape& s, DType t);
  static Tensor full(const Shape& s, DType t, double value);
  static Tensor dense(const Shape& s, DType t);  // rows without padding
  // Rows of `stride` elements in memory that outlives every use.
  static Tensor view_of(void* data, const Shape& s, DType t, int64_t stride);
  template <class T>
  static Tensor view_of(std::span<T> data, const Shape& s) {
    require(s.numel() == static_cast<int64_t>(data.size()), "{} elements are not a {}", data.size(), s.str());
    return view_of(const_cast<std::remove_const_t<T>*>(data.data()), s, dtype_of<std::remove_const_t<T>>, s.cols());
  }

  Tensor(const Tensor& o)
      : slot(o.slot), buffer_(o.buffer_), data_(o.data_), shape_(o.shape_), stride_(o.stride_), dtype_(o.dtype_) {
    if (buffer_) ++buffer_->refs;
  }
  Tensor(Tensor&& o) noexcept
      : slot(o.slot),
        buffer_(std::exchange(o.buffer_, nullptr)),
        data_(std::exchange(o.data_, nullptr)),
        shape_(std::exchange(o.shape_, Shape{})),
        stride_(o.stride_),
        dtype_(o.dtype_) {}
  Tensor& operator=(Tensor o) noexcept {
    std::swap(buffer_, o.buffer_);
    std::swap(data_, o.data_);
    std::swap(shape_, o.shape_);
    std::swap(stride_, o.stride_);
    std::swap(dtype_, o.dtype_);
    std::swap(slot, o.slot);
    return *this;
  }
  ~Tensor() {
    if (buffer_ && --buffer_->refs == 0) BufferPool::local().release(buffer_);
  }

  bool defined() const { return data_ || buffer_; }
  bool is_meta() const { return buffer_ && buffer_->meta; }
  const Shape& shape() const { return shape_; }
  int64_t dim(int i) const { return shape_[i]; }
  int64_t numel() const { return shape_.numel(); }
  int64_t rows() const { return shape_.rows(); }
  int64_t cols() const { return shape_.cols(); }
  int64_t stride() const { return stride_; }
  DType dtype() const { return dtype_; }
  bool is_dense() const { return stride_ == cols() || rows() <= 1; }
  size_t bytes() const { return static_cast<size_t>(rows() * stride_) * size_of(dtype_); }  // with padding
  const Buffer* buffer() const { return buffer_; }
  bool unique() const { return buffer_ && buffer_->refs == 1; }

  std::byte* raw() const { return data_; }
  template <class T>
  T* data() const {
    require(dtype_of<T> == dtype_, "a tensor of {} was taken for one of {}", to_string(dtype_), to_string(dtype_of<T>));
    return reinterpret_cast<T*>(data_);
  }
  // All leading dimensions folded into rows.
  template <class T>
  View<T> view() const {
    return {data<T>(), rows(), cols(), stride_};
  }
  // The same memory under another shape. The last dimension may change only where rows are not padded.
  Tensor reshape(const Shape& s) const;
  // Columns [from, from + n) of every row, rows [from, from + n) of all rows: the same memory.
  Tensor columns(int64_t from, int64_t n) const;
  Tensor row_range(int64_t from, const Shape& s) const;  // s.rows() rows starting at `from`, shaped s
  Tensor clone() const;
  Tensor untracked() const {
    Tensor t = *this;
    t.slot = kUntracked;
    return t;
  }

  int slot = kUntracked;  // where the tape keeps this tensor's gradient

 private:
  static Tensor made(const Shape& s, DType t, int64_t stride);

  Buffer* buffer_ = nullptr;  // null for a view of foreign memory
  std::byte* data_ = nullptr;
  Shape shape_;
  int64_t stride_ = 0;
  DType dtype_ = DType::f32;
};

// Null where t is undefined.
template <class T>
T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}
template <class T>
View<T> view_or_null(const Tensor& t) {
  return t.defined() ? t.view<T>() : View<T>{};
}

void copy(const Tensor& from, const Tensor& to);  // same shape and type
void fill(const Tensor& t, double value);
// While alive, tensors made on this thread have shapes but no memory.
class MetaMode {
 public:
  static bool on() { return on_; }

 private:
  static thread_local bool on_;
  Held<bool> held_{on_, true};
};

}  // namespace effllm
