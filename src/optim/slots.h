// What an optimizer keeps from step to step: of each parameter some numbers for each element, its slots, by name.
#pragma once
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "nn/param_store.h"

namespace effllm {

// The slots of a parameter; as many as numbers that are kept of an element.
using SlotNames = std::span<const std::string_view> (*)(const Parameter&);

// The s-th slots of all parameters that have so many stand in one slab, in store order.
struct SlotLayout {
  SlotLayout(const ParamStore& store, SlotNames names);
  std::vector<int64_t> elements;              // of the s-th slab
  std::vector<std::vector<int64_t>> offsets;  // [s][parameter in store order]; -1 where it has no such slot
};

class Slots {
 public:
  Slots(const ParamStore& store, SlotNames names);  // zeroed
  // The first element of the s-th slot of the parameter that is `i`th in store order, laid out like its values.
  template <class T>
  T* data(size_t s, size_t i) const {
    return slabs_[s]->data<T>() + layout_.offsets[s][i];
  }
  Tensor view(size_t s, size_t i) const;  // shaped like the parameter

 private:
  const ParamStore& store_;
  SlotLayout layout_;
  std::vector<std::unique_ptr<Slab>> slabs_;
};

}  // namespace effllm
