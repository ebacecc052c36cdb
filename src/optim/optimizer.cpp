#include "optim/optimizer.h"

namespace effllm {

std::unique_ptr<Optimizer> build_optimizer(const OptimOptions& o, const std::vector<GroupOptions>& groups,
                                           ParamStore& store) {
  return o.type.build(o, groups, store);
}

Optimizer::Optimizer(const OptimizerInfo& info, const OptimOptions& o, const std::vector<GroupOptions>& groups,
                     ParamStore& store)
    : store_(store), slots_(store, info.slots), names_(info.slots), settings_(group_settings(o, groups, store)) {}

void Optimizer::visit(const Visitor& f) const {
  for (size_t i = 0; i < store_.sorted().size(); ++i) {
    const Parameter& p = *store_.sorted()[i];
    size_t s = 0;
    for (const std::string_view name : names_(p)) f(name, p, slots_.view(s++, i));
  }
}

double Optimizer::pass_bytes() const {
  double bytes = 0;  // a gradient is read, a weight and its slots are read and written
  for (const Parameter* p : store_.sorted())
    bytes += 4 * static_cast<double>(p->extent) * static_cast<double>(3 + 2 * names_(*p).size());
  return bytes;
}

}  // namespace effllm
