// What an optimizer keeps from step to step: of each parameter some numbers, its slots, by name.
#pragma once
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "nn/param_store.h"

namespace effllm {

// What a slot has a number of: each element, each row, or the parameter as a whole.
enum class SlotOf { element, row, whole };
struct SlotKind {
  std::string_view name;
  SlotOf of = SlotOf::element;
  bool operator==(const SlotKind&) const = default;
  Shape shape(const Parameter& p) const;
  int64_t extent(const Parameter& p) const;  // numbers in a slab, padding included
};
// The slots of a parameter.
using SlotKinds = std::function<std::vector<SlotKind>(const Parameter&)>;

// The s-th slots of all parameters that have so many stand in one slab, in store order.
struct SlotLayout {
  SlotLayout(const ParamStore& store, const SlotKinds& kinds);
  std::vector<int64_t> elements;              // of the s-th slab
  std::vector<std::vector<int64_t>> offsets;  // [s][parameter in store order]; -1 where it has no such slot
};

class Slots {
 public:
  Slots(const ParamStore& store, SlotKinds kinds);  // zeroed
  // The first number of the s-th slot of the parameter that is `i`th in store order, laid out like its values where it
  // has one of each element.
  template <class T>
  T* data(size_t s, size_t i) const {
    return slabs_[s]->data<T>() + layout_.offsets[s][i];
  }
  Tensor view(size_t s, size_t i) const;  // of SlotKind::shape
  std::vector<SlotKind> kinds(size_t i) const { return kinds_(*store_.sorted()[i]); }

 private:
  const ParamStore& store_;
  SlotKinds kinds_;
  SlotLayout layout_;
  std::vector<std::unique_ptr<Slab>> slabs_;
};

}  // namespace effllm
