// Streams that stand side by side, mixed token by token.
#pragma once
#include "autodiff/op.h"

namespace effllm {

// Which weight is whose: the n of one result stand together, or the m of one source.
enum class MixOrder { by_result, by_source };

// y_i = onto_i + sum_j w_ij x_j. x: n streams [.., n C]; weights: [.., m n]; onto: [.., m C], undefined: zeros ->
// m streams [.., m C].
Tensor mix_streams(const Tensor& x, const Tensor& weights, int64_t n, MixOrder order = MixOrder::by_result,
                   const Tensor& onto = {});

}  // namespace effllm
