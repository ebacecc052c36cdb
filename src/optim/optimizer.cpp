#include "optim/optimizer.h"

namespace effllm {

std::unique_ptr<Optimizer> build_optimizer(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                           ParamStore& store) {
  return o.type.build(o, groups, store);
}

SlotKinds slots_of(const Choice<OptimizerInfo>& type) {
  return [type](const Parameter& p) { return type.info().slots(type.options(), p); };
}

Optimizer::Optimizer(const OptimOptions& o, const std::vector<GroupOptions>& groups, ParamStore& store)
    : store_(store), slots_(store, slots_of(o.type)), settings_(group_settings(o, groups, store)) {}

void Optimizer::visit(const Visitor& f) const {
  for (size_t i = 0; i < store_.sorted().size(); ++i) {
    const Parameter& p = *store_.sorted()[i];
    size_t s = 0;
    for (const SlotKind& kind : slots_.kinds(i)) f(kind.name, p, slots_.view(s++, i));
  }
}

double Optimizer::pass_bytes() const {
  double bytes = 0;  // a gradient is read, a weight and its slots are read and written
  for (size_t i = 0; i < store_.sorted().size(); ++i) {
    int64_t numbers = 3 * store_.sorted()[i]->extent;
    for (const SlotKind& kind : slots_.kinds(i)) numbers += 2 * kind.extent(*store_.sorted()[i]);
    bytes += 4 * static_cast<double>(numbers);
  }
  return bytes;
}

}  // namespace effllm
