#include "tensor/tensor.h"

#include <fmt/format.h>

#include <cstring>

namespace effllm {

thread_local bool MetaMode::on_ = false;

std::string Shape::str() const { return fmt::format("[{}]", fmt::join(dims_.begin(), dims_.begin() + rank_, ", ")); }

void Shape::too_large() const { throw MemoryError("a tensor {} is larger than any memory", str()); }

Tensor Tensor::made(const Shape& s, DType t, int64_t stride) {
  Tensor x = view_of(nullptr, s, t, stride);
  x.buffer_ = MetaMode::on() ? BufferPool::local().acquire_meta(x.bytes()) : BufferPool::local().acquire(x.bytes());
  x.data_ = x.buffer_->data;
  ++x.buffer_->refs;
  return x;
}

Tensor Tensor::empty(const Shape& s, DType t) {
  return made(s, t, s.rows() > 1 ? padded_stride(s.cols(), t) : s.cols());
}

Tensor Tensor::dense(const Shape& s, DType t) { return made(s, t, s.cols()); }

Tensor Tensor::zeros(const Shape& s, DType t) {
  Tensor x = empty(s, t);
  if (!x.is_meta()) std::memset(x.data_, 0, x.bytes());
  return x;
}

Tensor Tensor::full(const Shape& s, DType t, double value) {
  Tensor x = empty(s, t);
  fill(x, value);
  return x;
}

Tensor Tensor::view_of(void* data, const Shape& s, DType t, int64_t stride) {
  Tensor x;
  x.data_ = static_cast<std::byte*>(data);
  x.shape_ = s;
  x.stride_ = stride;
  x.dtype_ = t;
  return x;
}

Tensor Tensor::reshape(const Shape& s) const {
  require(s.numel() == numel(), "reshape: {} does not hold as many elements as {}", s.str(), shape_.str());
  require(s.cols() == cols() || is_dense(), "reshape: rows of {} are padded, so that they can't become {}",
          shape_.str(), s.str());
  Tensor x = *this;
  if (s.cols() != cols()) x.stride_ = s.cols();
  x.shape_ = s;
  return x;
}

Tensor Tensor::columns(int64_t from, int64_t n) const {
  require(from >= 0 && n >= 0 && from + n <= cols(), "columns {}..{} of {}", from, from + n, shape_.str());
  Tensor x = *this;
  if (x.data_) x.data_ += static_cast<size_t>(from) * size_of(dtype_);
  x.shape_ = shape_.with(-1, n);
  return x;
}

Tensor Tensor::row_range(int64_t from, const Shape& s) const {
  require(s.cols() == cols() && from >= 0 && from + s.rows() <= rows(), "rows {}.. as {} of {}", from, s.str(),
          shape_.str());
  Tensor x = *this;
  if (x.data_) x.data_ += static_cast<size_t>(from * stride_) * size_of(dtype_);
  x.shape_ = s;
  return x;
}

Tensor Tensor::clone() const {
  Tensor x = empty(shape_, dtype_);
  copy(*this, x);
  return x;
}

void copy(const Tensor& from, const Tensor& to) {
  require(from.shape() == to.shape() && from.dtype() == to.dtype(), "copy of {} into {}", from.shape().str(),
          to.shape().str());
  if (from.is_meta() || to.is_meta()) return;
  const size_t size = size_of(from.dtype()), row = static_cast<size_t>(from.cols()) * size;
  for (int64_t r = 0; r < from.rows(); ++r)
    std::memcpy(to.raw() + static_cast<size_t>(r * to.stride()) * size,
                from.raw() + static_cast<size_t>(r * from.stride()) * size, row);
}

void fill(const Tensor& t, double value) {
  if (t.is_meta()) return;
  const auto put = [&]<class T>() {
    for (int64_t r = 0; r < t.rows(); ++r) std::fill_n(t.view<T>().row(r), t.cols(), static_cast<T>(value));
  };
  switch (t.dtype()) {
    case DType::f32:
      return put.template operator()<float>();
    case DType::f64:
      return put.template operator()<double>();
    case DType::i32:
      return put.template operator()<int32_t>();
    case DType::i64:
      return put.template operator()<int64_t>();
  }
}

}  // namespace effllm
