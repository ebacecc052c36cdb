// What a kernel sees of a tensor: rows of memory.
#pragma once
#include <cstdint>

namespace effllm {

template <class T>
struct View {
  T* data = nullptr;
  int64_t rows = 0, cols = 0, stride = 0;  // stride: elements from one row to the next

  [[gnu::always_inline]] T* row(int64_t r) const { return data + r * stride; }
  [[gnu::always_inline]] explicit operator bool() const { return data != nullptr; }
  operator View<const T>() const { return {data, rows, cols, stride}; }
  View part(int64_t from, int64_t n) const { return {data + from * stride, n, cols, stride}; }  // rows [from, from+n)
  View columns(int64_t from, int64_t n) const { return {data + from, rows, n, stride}; }
};

}  // namespace effllm
