#include "cores/common/segments.h"

#include <algorithm>

namespace effllm {

void require_segments(std::string_view op, const Tensor& segments, int64_t batch, int64_t tokens) {
  require(!segments.defined() || (segments.dtype() == DType::i64 && segments.shape() == Shape{batch, tokens}),
          "{}: segments are {}{}, not i64[{}, {}]", op, to_string(segments.dtype()), segments.shape().str(), batch,
          tokens);
}

DocumentStarts::DocumentStarts(const Tensor& segments) {
  if (!segments.defined()) return;
  const View<const int64_t> rows = segments.view<int64_t>();
  tokens_ = rows.cols;
  bytes_ = Tensor::dense({(rows.rows * rows.cols + 7) / 8}, DType::i64);
  auto* out = reinterpret_cast<uint8_t*>(bytes_.raw());
  for (int64_t b = 0; b < rows.rows; ++b) {
    int64_t before = 0;
    for (int64_t t = 0; t < rows.cols; ++t) {
      const int64_t now = rows.row(b)[t];
      *out++ = now != before;
      before = now;
    }
  }
}

int64_t document_begin(const uint8_t* starts, int64_t t) {
  if (!starts) return 0;
  while (t > 0 && !starts[t]) --t;
  return t;
}

int64_t document_end(const uint8_t* starts, int64_t t, int64_t tokens) {
  if (!starts) return tokens;
  for (++t; t < tokens && !starts[t];) ++t;
  return t;
}

std::vector<Piece> pieces_of(const uint8_t* starts, int64_t tokens, int64_t longest) {
  std::vector<Piece> pieces;
  for (int64_t begin = 0; begin < tokens;) {
    const int64_t end = document_end(starts, begin, tokens);
    const bool fresh = begin > 0 || !continues(starts);
    for (int64_t from = begin; from < end; from += longest) {
      const int64_t to = std::min(from + longest, end);
      pieces.push_back({from, to, fresh && from == begin, to == end && end < tokens});
    }
    begin = end;
  }
  return pieces;
}

}  // namespace effllm
