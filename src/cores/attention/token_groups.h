// Groups of so many tokens, counted from a document's start, some of which a call cuts in two.
#pragma once
#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace effllm {

// Tokens [from, to) of one group of one row. `before` tokens of it came in earlier calls.
struct GroupPiece {
  int64_t from, to, before;
  bool fresh;     // the first group of a document that starts in this row
  bool complete;  // holds the group's last token
};
// starts: the row's document starts or null (see segments.h); before: tokens of the running document's last group that
// earlier calls took in, less than `group`.
std::vector<GroupPiece> group_pieces(const uint8_t* starts, int64_t tokens, int64_t group, int64_t before);

// `before` of sequence b: an i64 [B] tensor, undefined for 0.
inline int64_t before_of(const Tensor& before, int64_t b) { return before.defined() ? before.data<int64_t>()[b] : 0; }
// ShapeError unless the tokens before a call fit it: a cache [B, R, ..], R < group, with `before` i64 [B], at most R,
// or neither.
void require_cache(std::string_view op, const Tensor& x, const Tensor& cache, const Tensor& before, int64_t group);

}  // namespace effllm
