#include "objectives/batch.h"

#include <algorithm>

namespace effllm {

int64_t Batch::counted() const {
  return std::ranges::count_if(targets, [](int32_t t) { return t != kIgnoredTarget; });
}

BatchRows Batch::rows(int64_t first, int64_t count) const {
  const auto view = [&](const auto& all) {
    const auto from = static_cast<size_t>(first * tokens), n = static_cast<size_t>(count * tokens);
    return Tensor::view_of(std::span(all).subspan(from, n), {count, tokens});
  };
  BatchRows rows{view(inputs), view(targets), segments.empty() ? Tensor() : view(segments), first, batch};
  if (!further.empty()) {
    const auto each = further.size() / inputs.size(), one = static_cast<size_t>(tokens) * each;
    rows.further =
        Tensor::view_of(std::span(further).subspan(static_cast<size_t>(first) * one, static_cast<size_t>(count) * one),
                        {count, tokens, static_cast<int64_t>(each)});
  }
  return rows;
}

Batch batch_for(int64_t rows, int64_t tokens, int64_t first_sample) {
  Batch b{.batch = rows,
          .tokens = tokens,
          .first_sample = first_sample,
          .inputs = {},
          .targets = {},
          .segments = {},
          .further = {}};
  b.inputs.reserve(static_cast<size_t>(rows * tokens));
  b.targets.reserve(static_cast<size_t>(rows * tokens));
  return b;
}

}  // namespace effllm
