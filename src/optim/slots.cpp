#include "optim/slots.h"

#include <utility>

namespace effllm {

Shape SlotKind::shape(const Parameter& p) const {
  return of == SlotOf::element ? p.shape : Shape{of == SlotOf::row ? p.shape.numel() / p.shape.cols() : 1};
}

int64_t SlotKind::extent(const Parameter& p) const {
  constexpr int64_t line = 16;  // the next slot begins where a cache line does
  return of == SlotOf::element ? p.extent : (shape(p)[0] + line - 1) / line * line;
}

SlotLayout::SlotLayout(const ParamStore& store, const SlotKinds& kinds) {
  const std::vector<Parameter*>& all = store.sorted();
  for (size_t i = 0; i < all.size(); ++i) {
    size_t s = 0;
    for (const SlotKind& kind : kinds(*all[i])) {
      if (s == elements.size()) {
        elements.push_back(0);
        offsets.emplace_back(all.size(), -1);
      }
      offsets[s][i] = elements[s];
      elements[s++] += kind.extent(*all[i]);
    }
  }
}

Slots::Slots(const ParamStore& store, SlotKinds kinds)
    : store_(store), kinds_(std::move(kinds)), layout_(store, kinds_) {
  for (const int64_t n : layout_.elements) slabs_.push_back(std::make_unique<Slab>(n, store.dtype()));
}

Tensor Slots::view(size_t s, size_t i) const {
  const Parameter& p = *store_.sorted()[i];
  const Slab& slab = *slabs_[s];
  const SlotKind kind = kinds_(p)[s];
  return Tensor::view_of(slab.raw() + static_cast<size_t>(layout_.offsets[s][i]) * size_of(slab.dtype()), kind.shape(p),
                         slab.dtype(), kind.of == SlotOf::element ? p.value.stride() : kind.shape(p)[0]);
}

}  // namespace effllm
