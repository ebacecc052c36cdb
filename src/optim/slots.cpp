#include "optim/slots.h"

namespace effllm {

SlotLayout::SlotLayout(const ParamStore& store, SlotNames names) {
  const std::vector<Parameter*>& all = store.sorted();
  for (size_t i = 0; i < all.size(); ++i)
    for (size_t s = 0; s < names(*all[i]).size(); ++s) {
      if (s == elements.size()) {
        elements.push_back(0);
        offsets.emplace_back(all.size(), -1);
      }
      offsets[s][i] = elements[s];
      elements[s] += all[i]->extent;
    }
}

Slots::Slots(const ParamStore& store, SlotNames names) : store_(store), layout_(store, names) {
  for (const int64_t n : layout_.elements) slabs_.push_back(std::make_unique<Slab>(n, store.dtype()));
}

Tensor Slots::view(size_t s, size_t i) const {
  const Parameter& p = *store_.sorted()[i];
  const Slab& slab = *slabs_[s];
  return Tensor::view_of(slab.raw() + static_cast<size_t>(layout_.offsets[s][i]) * size_of(slab.dtype()), p.shape,
                         slab.dtype(), p.value.stride());
}

}  // namespace effllm
