#include "nn/nested.h"

#include <fmt/format.h>

#include <algorithm>

namespace effllm {

Nested::Nested(std::string name, std::shared_ptr<const SequenceMixer> mixer)
    : name_(std::move(name)),
      mixer_(std::move(mixer)),
      fields_(static_cast<int64_t>(mixer_->state_spec(1).fields.size())) {}

void Nested::append_fields(StateSpec& spec, int64_t tokens) const {
  for (StateField& f : mixer_->state_spec(tokens).fields) {
    f.name = fmt::format("{}.{}", name_, f.name);
    spec.fields.push_back(std::move(f));
  }
}

Tensor Nested::forward(const Tensor& x, const Context& outer, int64_t first) const {
  Context cx = outer;
  const std::string site = fmt::format("{}.{}", outer.site, name_);
  cx.site = site;
  MixerState own;
  const auto begin = outer.state ? outer.state->fields.begin() + first : own.fields.begin();
  if (outer.state) {
    own.fields.assign(begin, begin + fields_);
    own.seen = outer.state->seen.clone();
    cx.state = &own;
  }
  const Tensor y = tap(cx, "out", mixer_->forward(x, cx));
  if (outer.state) std::ranges::move(own.fields, begin);
  return y;
}

}  // namespace effllm
