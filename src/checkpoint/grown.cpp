#include "checkpoint/grown.h"

#include <fmt/format.h>

#include <cstring>

namespace effllm {
namespace {

constexpr std::string_view kMoments = "opt.", kStates = "state.";

Shape shape_of(const StoredTensor& t) {
  Shape s;
  for (auto size = t.shape.rbegin(); size != t.shape.rend(); ++size) s = s.with_first(*size);
  return s;
}

DType type_of(const StoredTensor& t) {
  return t.type == StoredType::f64 ? DType::f64 : t.type == StoredType::i64 ? DType::i64 : DType::f32;
}

// The stored tensor into the first rows and columns of `to`, or its first elements.
void load_corner(const SafetensorsFile& file, const std::string& path, const StoredTensor& t, const Tensor& to) {
  const Shape shape = shape_of(t);
  bool fits = shape.rank() == to.shape().rank() && shape.rank() <= 2;
  for (int i = 0; fits && i < shape.rank(); ++i) fits = shape[i] <= to.dim(i);
  if (shape != to.shape() && !fits)
    throw CheckpointError("{}: `{}` {} can't become {}", path, t.name, shape.str(), to.shape().str());
  const Tensor old = Tensor::empty(shape, to.dtype());
  load_tensor(file, path, t.name, old);
  const size_t size = size_of(to.dtype());
  for (int64_t r = 0; r < old.rows(); ++r)
    std::memcpy(to.raw() + static_cast<size_t>(r * to.stride()) * size,
                old.raw() + static_cast<size_t>(r * old.stride()) * size, static_cast<size_t>(old.cols()) * size);
}

}  // namespace

void load_grown(const SafetensorsFile& file, const std::string& path, const ParamStore& store) {
  for (const Parameter* p : store.sorted()) {
    const StoredTensor* t = file.find(p->name);
    if (!t) throw CheckpointError("{}: lacks `{}`", path, p->name);
    load_corner(file, path, *t, p->value);
    const int64_t rows = shape_of(*t).rows();
    for (int64_t r = rows; r < p->value.rows(); ++r)
      std::memset(p->value.raw() + static_cast<size_t>(r * p->value.stride()) * size_of(p->value.dtype()), 0,
                  static_cast<size_t>(p->value.cols()) * size_of(p->value.dtype()));
  }
  for (const ModelBuffer& b : store.buffers())
    if (!load_tensor(file, path, b.name, b.value)) throw CheckpointError("{}: lacks `{}`", path, b.name);
}

std::vector<NamedTensor> grown_rest(const SafetensorsFile& file, const std::string& path, const ParamStore& store,
                                    const std::function<Shape(std::string_view slot, const Parameter&)>& shape) {
  std::vector<NamedTensor> all;
  for (const StoredTensor& t : file.tensors()) {
    const bool moment = t.name.starts_with(kMoments);
    if (!moment && !t.name.starts_with(kStates)) continue;
    const size_t dot = t.name.find('.', kMoments.size());
    const Parameter* of = moment ? store.find(t.name.substr(dot + 1)) : nullptr;
    const std::string_view slot = std::string_view(t.name).substr(kMoments.size(), dot - kMoments.size());
    const Tensor value = Tensor::zeros(of ? shape(slot, *of) : shape_of(t), type_of(t));
    load_corner(file, path, t, value);
    all.push_back({t.name, value});
  }
  return all;
}

}  // namespace effllm
