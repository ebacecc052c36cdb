#include "nn/call.h"

#include <fmt/format.h>

namespace effllm {

Call::Call(const Call& outer, std::string_view name)
    : site_(fmt::format("{}.{}", outer.pass_.site, name)),
      prefix_(fmt::format("{}{}.", outer.prefix_, name)),
      pass_(outer.pass_) {
  pass_.site = site_;
}

Tensor Call::read(std::string_view field) const { return pass_.state ? pass_.state->field(field, prefix_) : Tensor(); }

void Call::write(std::string_view field, const Tensor& value) const {
  if (pass_.state) pass_.state->field(field, prefix_) = value;
}

Tensor Call::seen_after(int64_t tokens) const {
  if (!pass_.state) return {};
  const Tensor after = pass_.state->seen.clone();
  effllm::advance(after, tokens, pass_.segments);
  return after;
}

void Call::advance(int64_t tokens) const {
  if (pass_.state && prefix_.empty()) effllm::advance(pass_.state->seen, tokens, pass_.segments);
}

}  // namespace effllm
