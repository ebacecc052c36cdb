#include "train/carried.h"

#include <fmt/format.h>

#include <algorithm>

namespace effllm {
namespace {

void forget(const State& rows) {
  rows.each([](const StateField&, const Tensor& t) { std::fill_n(t.raw(), t.bytes(), std::byte{0}); });
}

}  // namespace

void require_carriable(const LanguageModel& model) {
  Diagnostics found;
  for (int64_t i = 0; i < model.layers(); ++i) {
    const std::vector<const StateField*> fields = model.layer_site(i).all();
    const auto grows = std::ranges::find(fields, Growth::per_token, &StateField::growth);
    if (grows != fields.end())
      found.error(model.config().layers[static_cast<size_t>(i)].block.mark(),
                  fmt::format("train.carry_state: the state `{}` grows with every token; take a mixer whose state "
                              "doesn't, such as attention with a `window`",
                              (*grows)->path));
  }
  found.throw_if_any();
}

Carried::Carried(const LanguageModel& model, int64_t rows, int64_t capacity) {
  require_carriable(model);
  const auto make = [&](const Shape& shape, DType type) {
    const Slab& memory = *memory_.emplace_back(std::make_unique<Slab>(shape.numel(), type));
    return Tensor::view_of(memory.raw(), shape, type, shape.cols());
  };
  for (State* s : {&now_, &next_}) *s = model.training_state(rows, capacity, make);
}

void Carried::begin(bool continues) {
  if (!continues) forget(next_);
  start_ = continues ? &now_ : &next_;
}

void Carried::keep() { std::swap(now_, next_); }

void Carried::leave_out() {
  if (start_ == &next_) forget(now_);
}

}  // namespace effllm
