// Element types. f32 and f64 are computed with (f64 exists for tests and references); the others are stored only.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"

namespace effllm {

enum class DType : uint8_t { f32, f64, i32, i64 };

constexpr size_t size_of(DType t) { return t == DType::f64 || t == DType::i64 ? 8 : 4; }
constexpr bool is_float(DType t) { return t == DType::f32 || t == DType::f64; }
constexpr std::string_view to_string(DType t) {
  constexpr std::string_view kNames[] = {"f32", "f64", "i32", "i64"};
  return kNames[static_cast<size_t>(t)];
}

template <class T>
inline constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<double> = DType::f64;
template <>
inline constexpr DType dtype_of<int32_t> = DType::i32;
template <>
inline constexpr DType dtype_of<int64_t> = DType::i64;

// Calls f.template operator()<float>() or <double>().
template <class F>
decltype(auto) dispatch_float(DType t, F&& f) {
  require(is_float(t), "a float tensor is needed here, not {}", to_string(t));
  return t == DType::f64 ? f.template operator()<double>() : f.template operator()<float>();
}

}  // namespace effllm
