#include "nn/nested.h"

#include <fmt/format.h>

namespace effllm {

void Nested::append_fields(StateSpec& spec, int64_t tokens) const {
  for (StateField& f : mixer_->state_spec(tokens).fields) {
    f.name = fmt::format("{}.{}", name_, f.name);
    spec.fields.push_back(std::move(f));
  }
}

Tensor Nested::forward(const Tensor& x, const Call& outer) const {
  const Call call = outer.child(name_);
  return call.tap("out", mixer_->forward(x, call));
}

}  // namespace effllm
