#include "autodiff/meter.h"

#include <cmath>

namespace effllm {

thread_local Meter* Meter::current_ = nullptr;
thread_local const NanWatch* NanWatch::current_ = nullptr;
thread_local std::string_view LayerName::current_;

void Meter::count(const Op& op, const Cost& cost) {
  total += cost;
  auto it = by_op.find(op.name());
  if (it == by_op.end()) it = by_op.emplace(std::string(op.name()), Row{}).first;
  ++it->second.calls;
  it->second.cost += cost;
}

void NanWatch::check(std::string_view op, std::string_view layer, std::string_view what, const Tensor& t) const {
  if (!t.defined() || t.is_meta() || !is_float(t.dtype())) return;
  dispatch_float(t.dtype(), [&]<class T>() {
    const auto v = t.view<T>();
    for (int64_t r = 0; r < v.rows; ++r)
      for (int64_t c = 0; c < v.cols; ++c)
        if (!std::isfinite(v.row(r)[c]))
          throw NumericalError("{} of op `{}` in {} holds {} at row {}, column {} of {} (step {})", what, op,
                               layer.empty() ? "the model" : layer, static_cast<double>(v.row(r)[c]), r, c,
                               t.shape().str(), step_);
  });
}

}  // namespace effllm
