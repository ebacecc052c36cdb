#include "cores/attention/token_groups.h"

#include <algorithm>

#include "cores/common/segments.h"

namespace effllm {

std::vector<GroupPiece> group_pieces(const uint8_t* starts, int64_t tokens, int64_t group, int64_t before) {
  std::vector<GroupPiece> pieces;
  int64_t taken = continues(starts) ? before : 0;
  for (int64_t from = 0; from < tokens;) {
    const bool fresh = starts && starts[from];
    if (fresh) taken = 0;
    const int64_t to = std::min(document_end(starts, from, tokens), from + group - taken);
    const bool complete = taken + to - from == group;
    pieces.push_back({from, to, taken, fresh, complete});
    taken = complete ? 0 : taken + to - from;
    from = to;
  }
  return pieces;
}

void require_cache(std::string_view op, const Tensor& x, const Tensor& cache, const Tensor& before, int64_t group) {
  const int64_t batch = x.dim(0);
  const int64_t room = cache.shape().rank() == 3 ? cache.dim(1) : 0;
  require(cache.defined() == before.defined() && (!cache.defined() || (cache.shape() == Shape{batch, room, x.cols()} &&
                                                                       room < group && cache.dtype() == x.dtype())),
          "{}: cached tokens {} for {} in groups of {}", op, cache.shape().str(), x.shape().str(), group);
  require(!before.defined() || (before.dtype() == DType::i64 && before.shape() == Shape{batch}),
          "{}: {} counts of cached tokens for {} sequences", op, before.shape().str(), batch);
  for (int64_t b = 0; before.defined() && !before.is_meta() && b < batch; ++b)
    require(before.data<int64_t>()[b] >= 0 && before.data<int64_t>()[b] <= room,
            "{}: {} tokens before the call where there is room for {}", op, before.data<int64_t>()[b], room);
}

}  // namespace effllm
